"""Asks a node for `/openapi.json` and has a validator of OpenAPI 3.1 judge it."""

import json
import sys
import urllib.request

from openapi_spec_validator import OpenAPIV31SpecValidator


def main(url):
    with urllib.request.urlopen(url) as answer:
        assert answer.headers["content-type"] == "application/json", answer.headers
        document = json.load(answer)
    assert document["openapi"].startswith("3.1."), document["openapi"]
    wrong = list(OpenAPIV31SpecValidator(document).iter_errors())
    for error in wrong:
        print(f"{'/'.join(str(step) for step in error.absolute_path)}: {error.message}")
    return 1 if wrong else 0


sys.exit(main(sys.argv[1]))
