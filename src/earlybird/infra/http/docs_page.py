"""`/docs`: one page that shows the OpenAPI of both services, with every file served from here."""

from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><title>earlybird</title>
<link rel="icon" href="/docs/static/favicon-32x32.png">
<link rel="stylesheet" href="/docs/static/swagger-ui.css">
</head>
<body>
<nav style="font: bold 16px sans-serif; padding: 16px; text-align: center">
<a href="/docs?service=identity">identity: register, log in</a> &nbsp;·&nbsp;
<a href="/docs?service=promotions">promotions: vouchers</a>
</nav>
<div id="service"></div>
<script src="/docs/static/swagger-ui-bundle.js"></script>
<script>
const service = new URLSearchParams(location.search).get("service") === "promotions" ? "promotions" : "identity";
SwaggerUIBundle({url: `/openapi/${service}.json`, dom_id: "#service"});
</script>
</body>
</html>
"""


def add_docs_page(app: FastAPI) -> None:
    """Serve the page at `/docs` and its style and script below it."""

    @app.get("/docs", include_in_schema=False)
    async def show_docs() -> HTMLResponse:
        return HTMLResponse(_PAGE)

    static = str(files("fastapi_swagger") / "resources")
    app.mount("/docs/static", StaticFiles(directory=static), name="docs-static")
