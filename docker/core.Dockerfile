# Masks for X-rays on a CPU: the core.
#   docker build --file docker/core.Dockerfile --tag paxray .
#   docker run --rm --network none --user "$(id -u):$(id -g)" --volume "$PWD:/data" \
#       paxray --images films --out masks
FROM python:3.12-slim-bookworm AS wheel
WORKDIR /project
COPY . .
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements.lock >backend.txt \
    && pip install --no-cache-dir --require-hashes --requirement backend.txt \
    && pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel .

FROM python:3.12-slim-bookworm
RUN --mount=type=bind,source=docker,target=/docker \
    --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip install --no-cache-dir --require-hashes --requirement /docker/core.lock \
    && pip install --no-cache-dir --no-deps /wheel/*.whl \
    && useradd --uid 1000 --create-home paxray
USER 1000
WORKDIR /data
ENTRYPOINT ["paxray", "predict"]
CMD ["--help"]
