"""Pictures of a running console: `python -m integration.serve.picture URL FOLDER`."""

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

SIZES = {"dark": (1440, 900, 1), "light": (1440, 900, 1), "tablet": (1024, 768, 1), "phone": (390, 844, 2)}
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def take(url: str, folder: Path, *, settle_ms: int = 8000) -> list[Path]:
    """One picture for each size; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGS)
        for name, (width, height, scale) in SIZES.items():
            context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=scale)
            page = context.new_page()
            page.goto(url)
            page.wait_for_selector(".fs-hop")
            if name == "light":
                page.get_by_role("button", name="Switch between light and dark").click()
            page.wait_for_timeout(settle_ms)
            files.append(folder / f"console-{name}.png")
            page.screenshot(path=files[-1], full_page=True)
            context.close()
        browser.close()
    return files


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    take(arguments.url, arguments.folder)
