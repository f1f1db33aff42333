# Training on NVIDIA's GPUs: the wheels of torch bring CUDA, the host its driver and container toolkit.
#   docker build --file docker/train.Dockerfile --tag paxray-train .
#   docker run --rm --gpus all --ipc host --user "$(id -u):$(id -g)" --volume "$PWD:/data" \
#       paxray-train train --profile profile.yaml --resume
FROM python:3.12-slim-bookworm AS wheel
WORKDIR /project
COPY . .
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements.lock >backend.txt \
    && pip install --no-cache-dir --require-hashes --requirement backend.txt \
    && pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel .

FROM python:3.12-slim-bookworm
# for `compile: kernels`; Debian keeps no older version that could be named
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,source=docker,target=/docker \
    --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip install --no-cache-dir --require-hashes --requirement /docker/train.lock \
    && pip install --no-cache-dir --no-deps /wheel/*.whl \
    && useradd --uid 1000 --create-home paxray
# compiled kernels are cached there, also for a user of --user, who has no home
ENV HOME=/tmp NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000
WORKDIR /data
ENTRYPOINT ["paxray"]
CMD ["--help"]
