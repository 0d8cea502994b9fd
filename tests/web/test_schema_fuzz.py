"""Requests made from the description of the service, good ones and bad ones: it never fails, and answers as described.

`GLOCAL_FUZZ_EXAMPLES=100 python -m pytest tests/web/test_schema_fuzz.py` asks so many of each operation.
"""

import base64
import contextlib
import os
import time
import warnings
from collections import Counter

import hypothesis.errors
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from glocal.web.api import create_app
from glocal.web.library import Library
from glocal.web.settings import Settings

EXAMPLES = int(os.environ.get("GLOCAL_FUZZ_EXAMPLES", "4"))
SEQUENCES = 4  # of each state machine, so many are asked
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.checks import load_all_checks
    from schemathesis.generation import GenerationMode
    from schemathesis.python import asgi
    from schemathesis.specs.openapi import checks

pytestmark = pytest.mark.filterwarnings("ignore")  # of the generator and its libraries
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
    checks.allow_header_conformance,
]


@pytest.fixture(scope="module")
def service(collection, tmp_path_factory):
    """An application that knows the generator's host, and ids of things that are there."""
    limits = {"num_searchers": 2, "queue_length": 64, "decode_timeout_s": 20.0}
    options = Settings(allowed_hosts=(asgi.HOST,), data_dir=tmp_path_factory.mktemp("made"), **limits)
    application = create_app(Library([collection / "photos/.glocal"], options), options)

    async def app(scope, receive, send):
        if scope["type"] != "lifespan":  # the generator ends that whenever it likes
            await application(scope, receive, send)

    application.state.service.start()
    with asgi.get_client(app) as client:
        ends = time.monotonic() + 60
        while client.get("/readyz").status_code != 200 and time.monotonic() < ends:
            time.sleep(0.05)
        found = client.post("/v1/search", files={"image": (collection / "query.jpg").read_bytes()}).json()
    app.known = {
        "image_id": found["results"][0]["id"],
        "query_id": found["query"]["id"],
        "index_id": "photos",
    }
    yield app
    application.state.service.close()


def operations(app):
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    rejection = schema.config.checks.negative_data_rejection
    rejection.expected_statuses = [*rejection.expected_statuses, "413"]  # the status of too many parts
    for result in schema.get_all_operations():
        yield result.ok()


def ask(app, operation, mode, path_parameters):
    @settings(
        max_examples=EXAMPLES,
        database=None,
        derandomize=EXAMPLES < 10,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode, path_parameters=path_parameters))
    def test(case):
        if operation.path.endswith("/events"):
            return  # a stream of a job that runs has no end of its own
        answer = case.call(timeout=60)
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        assert answer.status_code != 503 or '"code"' in answer.text
        case.validate_response(answer, checks=CHECKS)

    test()


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("real", [True, False], ids=["things that are there", "any ids"])
def test_no_request_makes_the_service_fail_or_answer_otherwise_than_described(service, mode, real):
    load_all_checks()
    asked, failures = 0, []
    for operation in operations(service):
        names = {parameter.name for parameter in operation.path_parameters}
        known = {name: value for name, value in service.known.items() if name in names} if real else {}
        if real and names and len(known) < len(names):
            continue
        if not names and not real:
            continue
        try:
            ask(service, operation, mode, known or None)
            asked += 1
        except Exception as error:  # noqa: BLE001 - all of them are of interest, not the first
            if "Unsatisfiable" in type(error).__name__ or "unsatisfiable" in str(error).lower():
                continue  # nothing can be wrong with a request that has no parameters
            reasons = [error, *getattr(error, "exceptions", ())]
            failures.append(f"{operation.label}: " + "; ".join(map(str, reasons)))
    assert not failures, f"{len(failures)} operations\n" + "\n\n".join(failures)
    assert asked > 3


def test_requests_that_follow_from_answers_fail_as_little(service, collection):
    load_all_checks()
    photo = (collection / "query.jpg").read_bytes()
    seen, failures = Counter(), []
    schema = schemathesis.openapi.from_asgi("/openapi.json", service).exclude(path_regex="/events$")

    class Sequence(schema.as_state_machine()):
        def before_call(self, case):
            # What is generated is no picture, and then nothing could follow from a search.
            for name in ("image", "first", "second", "query"):
                given = case.body.get(name) if isinstance(case.body, dict) else None
                if isinstance(given, bytes):
                    case.body[name] = photo
                elif isinstance(given, dict):
                    case.body[name] = {"base64": base64.b64encode(photo).decode()}

        def get_call_kwargs(self, case):
            return {"timeout": 60}

        def validate_response(self, response, case, additional_checks=(), **_):
            # Told at the end: the service remembers, so that a sequence cannot be run again to the same end.
            seen[case.operation.label, response.status_code] += 1
            try:
                assert response.status_code < 500 or response.status_code == 503, response.text
                case.validate_response(response, checks=CHECKS)
            except Exception as error:  # noqa: BLE001 - all of them are of interest, not the first
                failures.append(f"{case.operation.label}: {error} {getattr(error, 'exceptions', '')}")

    for _ in range(-(-EXAMPLES // SEQUENCES)):
        with contextlib.suppress(hypothesis.errors.Flaky, hypothesis.errors.FlakyStrategyDefinition):
            Sequence.run(
                settings=settings(
                    max_examples=SEQUENCES,
                    stateful_step_count=8,
                    database=None,
                    derandomize=EXAMPLES < 10,
                    deadline=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
            )
    assert not failures, f"{len(failures)} of {seen.total()}\n" + "\n\n".join(failures)
    assert seen.total() >= EXAMPLES
