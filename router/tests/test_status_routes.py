"""`/health`, `/info`, `/metrics`, unknown paths and browsers."""

import asyncio
import re
from typing import Any

import httpx
import pytest
from scripted_router import AcceptingGrammars, eventually, serve


def get(
    path: str, method: str = "GET", headers: dict[str, str] | None = None, **config: Any
) -> httpx.Response:
    async def scenario() -> httpx.Response:
        async with serve(**config) as edge, edge.client as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/", "/health", "/ping"])
def test_health_is_empty_while_the_model_is_there(path: str) -> None:
    response = get(path)
    assert (response.status_code, response.content) == (200, b"")


def test_readiness_is_a_503_while_the_model_is_away() -> None:
    async def scenario() -> None:
        async with serve() as edge, edge.client as client:
            await edge.link.die()
            await eventually(lambda: not edge.generation.is_ready)
            assert (await client.get("/health")).status_code == 200
            response = await client.get("/health?ready")
            assert response.status_code == 503
            assert response.json() == {"error": "unhealthy", "error_type": "healthcheck"}
            await edge.link.revive()
            await eventually(lambda: edge.generation.is_ready)
            assert (await client.get("/health?ready")).status_code == 200

    asyncio.run(scenario())


def test_readiness_is_a_503_while_the_server_leaves() -> None:
    async def scenario() -> None:
        async with serve() as edge, edge.client as client:
            edge.service.departure.begin()
            assert (await client.get("/health?ready")).status_code == 503
            assert (await client.get("/health")).status_code == 200

    asyncio.run(scenario())


def test_info_has_the_keys_of_tgi_first() -> None:
    info = get("/info", max_best_of=3, max_total_tokens=100).json()
    assert list(info)[:14] == [
        "model_id",
        "model_sha",
        "model_pipeline_tag",
        "max_concurrent_requests",
        "max_best_of",
        "max_stop_sequences",
        "max_input_tokens",
        "max_total_tokens",
        "validation_workers",
        "max_client_batch_size",
        "router",
        "version",
        "sha",
        "docker_label",
    ]
    assert info["model_id"] == "scripted"
    assert (info["max_best_of"], info["max_input_tokens"], info["max_total_tokens"]) == (3, 99, 100)


def test_info_tells_the_step_that_suits_the_device_or_what_the_operator_said() -> None:
    assert get("/info").json()["max_batch_prefill_tokens"] == 512
    assert get("/info", max_batch_prefill_tokens=64).json()["max_batch_prefill_tokens"] == 64


def test_metrics_have_the_names_of_tgi() -> None:
    async def scenario() -> httpx.Response:
        async with serve() as edge, edge.client as client:
            await client.post("/generate", json={"inputs": "abc"})
            await client.post("/generate", json={"inputs": ""})
            return await client.get("/metrics")

    response = asyncio.run(scenario())
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.text.splitlines()
    for line in (
        "# TYPE tgi_request_count counter",
        "tgi_request_count 2.0",
        "tgi_request_success 1.0",
        'tgi_request_failure{err="validation"} 1.0',
        "tgi_request_duration_count 1.0",
        "tgi_request_validation_duration_count 1.0",
        "tgi_request_queue_duration_count 1.0",
        "tgi_request_inference_duration_count 1.0",
        "tgi_request_mean_time_per_token_duration_count 1.0",
        "tgi_request_input_length_sum 3.0",
        "tgi_request_generated_tokens_sum 13.0",
        "tgi_request_max_new_tokens_sum 1021.0",
        "tgi_request_skipped_tokens_count 1.0",
        "tgi_queue_size 0.0",
        "tgi_batch_current_size 0.0",
        "tgi_batch_current_max_tokens 0.0",
        "tgi_batch_max_total_tokens 1024.0",
        'tgi_batch_inference_count{method="prefill"} 1.0',
        'tgi_batch_inference_success{method="prefill"} 1.0',
        'tgi_batch_inference_failure{method="decode"} 0.0',
        'tgi_batch_inference_duration_count{method="prefill"} 1.0',
        'tgi_batch_forward_duration_count{method="prefill"} 1.0',
        'tgi_batch_decode_duration_count{method="prefill"} 1.0',
        'tgi_batch_concat{reason="chunking"} 0.0',
        "tgi_batch_next_size_sum 1.0",
        "# TYPE tgi_batch_filter_duration histogram",
        "# TYPE tgi_batch_concat_duration histogram",
        "inlay_kv_blocks 64.0",
        "inlay_kv_blocks_used 0.0",
        "inlay_generated_tokens 13.0",
        "# TYPE inlay_generated_tokens counter",
        "# TYPE inlay_kv_blocks_used gauge",
        "inlay_image_count 0.0",
    ):
        assert line in lines
    assert "_created" not in response.text
    assert not re.search(r"(tgi|inlay)_\w+_total\b", response.text)


def test_every_metric_says_what_it_is() -> None:
    helps = dict(re.findall(r"^# HELP (\w+) (.*)$", get("/metrics").text, re.MULTILINE))
    assert len(helps) > 40
    assert [name for name, words in helps.items() if words == name.replace("_", " ")] == []


def test_an_unknown_path_is_a_404() -> None:
    response = get("/nowhere")
    assert response.status_code == 404
    assert response.json() == {"error": "no such route: /nowhere", "error_type": "not_found"}


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/chat/completions", " (is it /v1/chat/completions?)"),
        ("/v1/v1/chat/completions", " (is it /v1/chat/completions?)"),
        ("/generate/stream", " (is it /generate_stream?)"),
        (
            "/v1/responses",
            " (there are /v1/chat/completions, /v1/completions, /v1/models)",
        ),
        ("/favicon.ico", ""),
        ("/" + "a" * 5000, ""),
    ],
)
def test_a_404_names_the_route_that_was_probably_meant(path: str, hint: str) -> None:
    assert get(path).json()["error"] == f"no such route: {path}{hint}"[:1000] + (
        "…" if len(path) > 1000 else ""
    )


@pytest.mark.parametrize(("method", "path"), [("GET", "/generate"), ("POST", "/info")])
def test_a_wrong_method_is_a_405(method: str, path: str) -> None:
    response = get(path, method)
    assert response.status_code == 405
    assert response.json() == {
        "error": f"{method} is not allowed on {path}",
        "error_type": "method_not_allowed",
    }
    assert response.headers["allow"]


PREFLIGHT = {
    "origin": "http://page.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


def test_browsers_may_call_from_anywhere_by_default() -> None:
    response = get("/generate", "OPTIONS", PREFLIGHT)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert "authorization" in response.headers["access-control-allow-headers"]


@pytest.mark.parametrize(("origin", "is_allowed"), [("http://a", True), ("http://b", False)])
def test_browsers_may_be_told_where_they_may_call_from(origin: str, is_allowed: bool) -> None:
    response = get("/info", headers={"origin": origin}, cors_allow_origins=("http://a",))
    assert ("access-control-allow-origin" in response.headers) is is_allowed


def test_models_have_openai_shape() -> None:
    model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "scripted"}
    listed = get("/v1/models").json()
    assert listed == {"object": "list", "data": [model]}
    assert get("/v1/models/scripted").json() == model
    missing = get("/v1/models/gpt-4")
    assert (missing.status_code, missing.json()["error_type"]) == (404, "not_found")


def test_metrics_show_what_grammars_cost() -> None:
    parameters = {"grammar": {"type": "regex", "value": "a"}, "max_new_tokens": 1}

    async def scenario() -> str:
        async with serve(grammars=AcceptingGrammars()) as edge, edge.client as client:
            await client.post("/generate", json={"inputs": "x", "parameters": parameters})
            return (await client.get("/metrics")).text

    assert "inlay_grammar_check_duration_count 1.0" in asyncio.run(scenario())
