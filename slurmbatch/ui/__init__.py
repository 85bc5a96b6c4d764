"""The dashboard: files for browsers, served as they are at /ui/. No build step.

`vendor.json` says what of it is not ours; `.ci/vendor-ui` fetches that anew.
"""
