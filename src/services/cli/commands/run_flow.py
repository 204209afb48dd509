"""`tradewinds run <flow>`: one run of a deployment, now, and how it ended."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.shared.domain.errors import InputInvalid

if TYPE_CHECKING:
    from httpx import HTTPStatusError
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

_NOT_COMPLETED = 1


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(name="run")(run)


def run(
    flow: Annotated[str, typer.Argument(help="Name of a flow, of a deployment, or flow/deployment.")],
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="name=value; the value is JSON or plain text.")
    ] = None,
) -> None:
    """Run a deployed flow, wait for its end and print its state; exit code 1 unless it completed."""
    parameters = parse_parameters(param or [])
    from src.config.settings import load_settings
    from src.shared.prefect.config import adopt, client_environment
    from src.shared.prefect.connection import require_server

    settings = load_settings()
    require_server(settings)
    adopt(client_environment(settings))
    finished = _run_and_wait(flow, parameters)
    state = finished.state
    ended = f"{state.name} {state.message or ''}".rstrip() if state else "unknown"
    typer.echo(f"{finished.name}: {ended}")
    typer.echo(f"{settings.prefect_api_url.removesuffix('/api')}/v2/runs/flow-run/{finished.id}", err=True)
    if state is None or not state.is_completed():
        raise typer.Exit(_NOT_COMPLETED)


def parse_parameters(pairs: Iterable[str]) -> dict[str, Any]:
    """Read ``name=value`` pairs; a value that is no JSON is taken as text.

    Raises:
        InputInvalid: a pair has no name or no equals sign.
    """
    parameters: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (equals and name):
            raise InputInvalid(f"--param {pair}: write name=value.")
        parameters[name] = _value(value)
    return parameters


def choose(wanted: str, names: Collection[str]) -> str:
    """Find the one ``flow/deployment`` that a flow name, a deployment name or both together mean.

    Raises:
        InputInvalid: none or several do; the message gives the nearest, or the several.
    """
    found = sorted(name for name in names if wanted == name or wanted in name.split("/"))
    if len(found) == 1:
        return found[0]
    if found:
        raise InputInvalid(f"'{wanted}' has several deployments: say which of {', '.join(found)}.")
    words = {part for name in names for part in name.split("/")}
    raise InputInvalid(f"There is no deployed flow '{wanted}'. {_nearest(wanted, words)}")


def check_parameters(given: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Let parameters pass that the flow knows.

    Raises:
        InputInvalid: one is unknown; the message gives the nearest names.
    """
    known = schema.get("properties", {})
    for name in given:
        if name not in known:
            raise InputInvalid(f"The flow has no parameter '{name}'. {_nearest(name, known)}")


def refusal(error: HTTPStatusError) -> Exception:
    """Make the server's word that a value does not fit the flow's types one line; leave any other error as it is."""
    if error.response.status_code not in {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}:
        return error
    detail = " ".join(str(error.response.json().get("detail", error.response.text)).split())
    return InputInvalid(f"--param: {detail.removeprefix('Error creating flow run: ').rstrip('.')}.")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _nearest(wanted: str, known: Collection[str]) -> str:
    if not known:
        return "There are none at all."
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)
    return f"Nearest: {', '.join(near)}." if near else f"There are {', '.join(sorted(known))}."


def _run_and_wait(wanted: str, parameters: dict[str, Any]) -> FlowRun:
    import asyncio

    return asyncio.run(_arun_and_wait(wanted, parameters))


async def _arun_and_wait(wanted: str, parameters: dict[str, Any]) -> FlowRun:
    from prefect import get_client
    from prefect.deployments import arun_deployment
    from prefect.exceptions import PrefectHTTPStatusError

    async with get_client() as client:
        deployed = await _deployed(client)
    name = choose(wanted, deployed)
    check_parameters(parameters, deployed[name].parameter_openapi_schema or {})
    typer.echo(f"Running {name} …", err=True)
    try:
        finished: FlowRun = await arun_deployment(
            deployed[name].id, parameters=parameters, poll_interval=1, as_subflow=False
        )
    except PrefectHTTPStatusError as error:
        raise refusal(error) from error
    return finished


async def _deployed(client: Any) -> dict[str, DeploymentResponse]:
    flows: dict[Any, str] = {}
    found: dict[str, DeploymentResponse] = {}
    while page := await client.read_deployments(limit=200, offset=len(found)):
        for deployment in page:
            if deployment.flow_id not in flows:
                flows[deployment.flow_id] = (await client.read_flow(deployment.flow_id)).name
            found[f"{flows[deployment.flow_id]}/{deployment.name}"] = deployment
    return found
