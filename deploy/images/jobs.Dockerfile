# The stream jobs: Flink with the connectors, our functions and Python 3.11, which Flink's own image does not have.
# Build from the root: docker build -f deploy/images/jobs.Dockerfile --build-arg FLINK=flink@sha256:... .
ARG FLINK=flink:2.3.0-java21
ARG MAVEN=maven:3.9-eclipse-temurin-21
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS uv
RUN pip install --no-cache-dir uv==0.9.*

FROM ${FLINK} AS flink

FROM ${MAVEN} AS java
COPY --from=flink /opt/flink/lib /flink/lib
COPY deploy/local/pom.xml /src/
COPY central/functions /src/functions
COPY schemas/fieldstream_schemas/avro /classes/avro
RUN mvn -q -B -f /src/pom.xml dependency:copy@flink-lib dependency:copy@flink-s3 -Dtarget=/parts \
 && cp /parts/flink-lib/*.jar /flink/lib/ \
 && javac -parameters --release 17 -cp '/flink/lib/*' -d /classes /src/functions/fieldstream/*.java \
 && jar cf /parts/flink-lib/fieldstream-functions.jar -C /classes .

FROM ${FLINK} AS python
COPY --from=uv /usr/local/bin/uv /usr/local/bin/uv
COPY constraints.txt /src/
COPY schemas /src/schemas
COPY central /src/central
ENV UV_PYTHON_INSTALL_DIR=/opt/python
RUN uv venv --python 3.11 /opt/fieldstream \
 && sed -E '/^ +--hash/d; s/ \\$//' /src/constraints.txt > /src/pins.txt \
 && uv pip install --no-cache --python /opt/fieldstream/bin/python -c /src/pins.txt /src/schemas /src/central

FROM ${FLINK}
RUN install -d -o 10001 -g 10001 /var/lib/fieldstream && cp /opt/flink/opt/flink-python-*.jar /opt/flink/lib/
COPY --from=java /parts/flink-lib /opt/flink/lib
COPY --from=java /parts/flink-s3 /opt/flink/plugins/s3-fs-native
COPY --from=python /opt/python /opt/python
COPY --from=python /opt/fieldstream /opt/fieldstream
# Where a client looks for it that submits to a shared cluster.
RUN ln -s /opt/flink/lib/fieldstream-functions.jar /opt/fieldstream/fieldstream-functions.jar
ENV PATH=/opt/fieldstream/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp FLINK_HOME=/opt/flink
WORKDIR /var/lib/fieldstream
USER 10001:10001
