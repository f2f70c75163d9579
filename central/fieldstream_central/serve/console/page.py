"""The console's server and its pages: `fieldstream console`.

A window is opened once; changing the page replaces what is below its top, without loading anything anew.
"""

import asyncio
import contextlib
import os
from urllib.parse import unquote

import httpx
from fastapi import Request
from nicegui import Client, PageArguments, app, ui

from fieldstream_central.certificate import client_context, uvicorn_tls
from fieldstream_central.serve.api.recorder import CONSOLE_AGENT
from fieldstream_central.serve.console import person, sign_in, texts
from fieldstream_central.serve.console.alarm_page import AlarmPage
from fieldstream_central.serve.console.board import Gatherer
from fieldstream_central.serve.console.detection_page import DetectionPage
from fieldstream_central.serve.console.frame import BUTTONS, HERE, LIGHT_COOKIE, Top, Window
from fieldstream_central.serve.console.gateways import gateways
from fieldstream_central.serve.console.handover_page import HandoverPage
from fieldstream_central.serve.console.health_page import HealthPage
from fieldstream_central.serve.console.incident import IncidentPage
from fieldstream_central.serve.console.letters import LettersPage
from fieldstream_central.serve.console.live import live
from fieldstream_central.serve.console.maintenance_page import MaintenancePage
from fieldstream_central.serve.console.overview import overview
from fieldstream_central.serve.headers import CONSOLE_POLICY, SecurityHeaders
from fieldstream_central.settings import Settings


def open_window(window: Window, path: str) -> None:
    """The top, and below it the page that the address names."""
    top = Top(window, path)

    def board(args: PageArguments) -> None:
        if args.remaining_path:
            ui.label(texts.NO_SUCH_PAGE.format(path=args.remaining_path)).classes("fs-empty")
            return
        live(window, args.query_parameters.get("device"), args.query_parameters.get("metric"))

    def alarm_list(args: PageArguments) -> None:
        AlarmPage(window, asset_id=args.query_parameters.get("asset", ""))

    def detection(args: PageArguments) -> None:
        DetectionPage(window, sensor=args.query_parameters.get("sensor", ""))

    def incident(args: PageArguments) -> None:
        IncidentPage(window, unquote(args.remaining_path.removeprefix("/")))

    with ui.element("div").props("id=content tabindex=-1").classes("fs-content"):
        ui.sub_pages(
            {
                "/": board,
                "/overview": lambda: overview(window),
                "/alarms": alarm_list,
                "/incident": incident,
                "/gateways": lambda: gateways(window),
                "/dead-letters": lambda: LettersPage(window),
                "/maintenance": lambda: MaintenancePage(window),
                "/alarm-health": lambda: HealthPage(window),
                "/detection": detection,
                "/handover": lambda: HandoverPage(window),
            },
            show_404=False,
        )
    ui.context.client.sub_pages_router.on_path_changed(top.at)


def _watched() -> bool:
    return any(client.has_socket_connection for client in Client.instances.values())


def serve(settings: Settings, *, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serves the console until SIGTERM or SIGINT."""
    # Started by a test, NiceGUI would take itself for the thing tested and ask for its own test's port.
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    gatherer = Gatherer(settings)
    api = httpx.AsyncClient(
        base_url=settings.api,
        timeout=20.0,
        trust_env=False,
        headers={"User-Agent": CONSOLE_AGENT},
        verify=client_context(settings),
    )
    running: list[asyncio.Task[None]] = []

    async def start() -> None:
        running.append(asyncio.create_task(gatherer.run(_watched), name="gather"))

    async def stop() -> None:
        for task in running:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    app.add_middleware(SecurityHeaders, policy=CONSOLE_POLICY)
    app.on_startup(start)
    app.on_shutdown(stop)
    sign_in.routes(settings)

    @ui.page("/", title=texts.TITLE)
    @ui.page("/{_path:path}", title=texts.TITLE)
    async def console(request: Request) -> None:
        ui.add_css(HERE / "style.css")
        ui.colors(primary=BUTTONS)
        ui.add_head_html(f"<script>document.documentElement.lang = {texts.LANGUAGE!r}</script>")
        light = request.cookies.get(LIGHT_COOKIE) == "1"
        whoever = person.Person(api, unquote(request.cookies.get(sign_in.COOKIE, "")))
        dark = ui.dark_mode(value=not light)
        window = Window(gatherer, whoever, dark, settings.grafana, by_provider=settings.oidc is not None)
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        is_open = settings.oidc is None and not settings.api_tokens_file.exists()

        async def look_again() -> None:
            if await whoever.may_look(api_is_open=is_open):
                ui.navigate.reload()

        if await whoever.may_look(api_is_open=is_open):
            open_window(window, path)
        else:
            Top(window, path)
            with ui.element("div").props("id=content tabindex=-1").classes("fs-content"):
                only = texts.SOME_SITES.format(sites=", ".join(whoever.sites))
                ui.label(only if whoever.sites else texts.SIGN_IN_FIRST).classes("fs-empty")
            ui.timer(5.0, look_again)

    ui.run(
        host=host,
        port=port,
        reload=False,
        show=False,
        show_welcome_message=False,
        favicon=HERE / "favicon.svg",
        title=texts.TITLE,
        uvicorn_logging_level="warning",
        **uvicorn_tls(settings, ask_clients=False),
    )
