"""What the fuzzer does not send.

A header that nobody knows is passed over, as HTTP wants it, while the fuzzer takes it for something
to be refused. Parameters of the query that nobody knows are sent, and refused.
"""

import schemathesis

ALWAYS = {"accept", "content-type"}


@schemathesis.hook
def filter_case(context, case):
    described = {parameter.name.lower() for parameter in case.operation.headers}
    return all(name.lower() in described | ALWAYS for name in case.headers or {})
