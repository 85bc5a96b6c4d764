"""Request bodies: read with a bound, and parsed more strictly than the standard library does.

A body whose one array may have a million elements is parsed in portions of text, so that memory
does not grow with it. The scanner is the standard library's own, in C, value by value. ijson, on
yajl, takes as long once it has to tell of twin keys, and makes half a pair of surrogates a "?".
"""

from slurmbatch.api.body.portions import Elements, parse_long
from slurmbatch.api.body.source import read_json, read_long_json
from slurmbatch.api.body.values import MAX_DEPTH, MAX_MEMBERS, MAX_VALUE, parse

__all__ = [
    "MAX_DEPTH",
    "MAX_MEMBERS",
    "MAX_VALUE",
    "Elements",
    "parse",
    "parse_long",
    "read_json",
    "read_long_json",
]
