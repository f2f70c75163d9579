"""`fieldstream api` and `fieldstream console`."""

from typing import Annotated

import typer

from fieldstream_central.certificate import uvicorn_tls
from fieldstream_central.settings import load_settings

Host = Annotated[str, typer.Option(help="address to listen on")]


def api(
    host: Host = "127.0.0.1",
    port: int = 8000,
    reference: Annotated[bool, typer.Option("--reference", help="print docs/api.md and end")] = False,
) -> None:
    """Serve the query API."""
    import uvicorn

    from fieldstream_central.serve.api.app import create_app

    if reference:
        from fieldstream_central.serve.api.reference import reference as page

        typer.echo(page(), nl=False)
        return
    settings = load_settings()
    tls = uvicorn_tls(settings, ask_clients=False)
    uvicorn.run(create_app(settings), host=host, port=port, access_log=False, log_level="info", **tls)


def console(host: Host = "127.0.0.1", port: int = 8080) -> None:
    """Serve the operator's console."""
    from fieldstream_central.serve.console.page import serve

    serve(load_settings(), host=host, port=port)


def token(
    name: Annotated[str, typer.Argument(help="whose token, e.g. grafana")],
    role: Annotated[str, typer.Option(help="viewer, operator or admin")] = "viewer",
    days: Annotated[float, typer.Option(help="days until it expires; 0: never")] = 0.0,
    site: Annotated[list[str] | None, typer.Option(help="sees only this site; may be repeated; none: all")] = None,
) -> None:
    """Make a token for the API. It is shown once; from the first one on the API asks for tokens."""
    from fieldstream_central.serve.api.access import add_token

    try:
        made = add_token(load_settings().api_tokens_file, name, role, days=days, sites=site or ())
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(made)
