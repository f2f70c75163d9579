"""`fieldstream api` and `fieldstream console`."""

from typing import Annotated

import typer

from fieldstream_central.settings import load_settings

Host = Annotated[str, typer.Option(help="address to listen on")]


def api(host: Host = "127.0.0.1", port: int = 8000) -> None:
    """Serve the query API."""
    import uvicorn

    from fieldstream_central.serve.api.app import create_app

    uvicorn.run(create_app(load_settings()), host=host, port=port, access_log=False, log_level="info")


def console(host: Host = "127.0.0.1", port: int = 8080) -> None:
    """Serve the operator's console."""
    from fieldstream_central.serve.console.page import serve

    serve(load_settings(), host=host, port=port)
