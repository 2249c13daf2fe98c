"""What a document cannot say to schemathesis: what there is, which cursors lists gave, and that an Idempotency-Key is used once."""

import itertools
import json
import os
import uuid

import schemathesis

# By the beginning of a path, for each of its parameters: values to take in turn; null leaves what was made up.
KNOWN = json.loads(os.environ["AFTERCALL_KNOWN"])
TURNS = {
    (path, name): itertools.cycle(values)
    for path, parameters in KNOWN.items()
    for name, values in parameters.items()
}


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    for (path, name), values in TURNS.items():
        if case.operation.path.startswith(path) and name in (case.path_parameters or {}):
            value = next(values)
            if value is not None:
                case.path_parameters[name] = value
    if case.query:
        case.query.pop("after", None)
    for name in list(case.headers or {}):
        if name.lower() == "idempotency-key":
            case.headers[name] = str(uuid.uuid4())
