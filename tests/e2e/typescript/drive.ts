// Makes a batch, watches it to its end and looks at all of it, with types made of the OpenAPI document.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

declare const process: { env: Record<string, string> };

const client = createClient<paths, "application/json" | "application/problem+json">({
  baseUrl: process.env.SLURMBATCH_URL,
  headers: { Authorization: process.env.SLURMBATCH_API_KEY },
});

function got<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

const [made] = got(
  await client.POST("/batches", {
    params: { header: { "Idempotency-Key": "from-typescript" } },
    body: {
      tool_id: "probe",
      name: "from TypeScript",
      fixed_args: { print: "hello" },
      variable_args: [{}, { exit_code: 3 }],
    },
  }),
);
if (!("batch_id" in made)) throw new Error("only a dry run has no id");
const path = { batch_id: made.batch_id };

let batch = made;
while (batch.finished_at === "") {
  const answer = await client.GET("/batches/{batch_id}", {
    params: { path, query: { wait: 30, since: batch.version } },
  });
  if (answer.response.status === 200) [batch] = got(answer);
}

const jobs = got(
  await client.GET("/batches/{batch_id}/jobs", {
    params: { path, query: { status: ["FAILED", "SUCCEEDED"] } },
  }),
);
const [job] = got(
  await client.GET("/batches/{batch_id}/jobs/{job_id}", {
    params: { path: { ...path, job_id: jobs[1].job_id } },
  }),
);
const log = await client.GET("/logs/{log_id}", {
  params: { path: { log_id: job.log_id } },
  parseAs: "text",
});
const mistaken = await client.POST("/batches", { body: { tool_id: "none" } });
await client.DELETE("/batches/{batch_id}", { params: { path } });
const gone = await client.GET("/batches/{batch_id}", { params: { path } });

console.log(
  JSON.stringify({
    counts: batch.submitted_jobs,
    jobs: jobs.map((each) => [each.index, each.status, each.args]),
    job: [job.status, job.exit_code],
    log: log.data,
    mistaken: mistaken.error?.errors?.map((each) => each.pointer),
    gone: gone.error?.status,
  }),
);
