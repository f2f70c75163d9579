# Loader, alerter, API, console and every `fieldstream` command that needs no Flink client.
# Build from the root: docker build -f deploy/images/centre.Dockerfile --build-arg PYTHON=python@sha256:... .
ARG PYTHON=python:3.11-slim-bookworm
FROM ${PYTHON} AS build
COPY constraints.txt /src/
COPY schemas /src/schemas
COPY central /src/central
RUN python -m venv /opt/fieldstream \
 && sed -E '/^ +--hash/d; s/ \\$//' /src/constraints.txt > /src/pins.txt \
 && /opt/fieldstream/bin/pip install --no-cache-dir -c /src/pins.txt /src/schemas /src/central

FROM ${PYTHON}
RUN useradd --uid 10001 --no-create-home fieldstream && install -d -o 10001 -g 10001 /var/lib/fieldstream
COPY --from=build /opt/fieldstream /opt/fieldstream
ENV PATH=/opt/fieldstream/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp
WORKDIR /var/lib/fieldstream
USER 10001:10001
VOLUME /var/lib/fieldstream
ENTRYPOINT ["fieldstream"]
