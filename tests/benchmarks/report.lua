-- What wrk has counted, as one line that is easy to read for a program.
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "COUNTED %d %d %d %d %d %d\n",
    summary.requests, summary.duration, summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
