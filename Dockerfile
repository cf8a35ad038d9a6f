# The image of every node of the cluster, and of `attn` where no Python is at hand:
#   docker build -t attn:0.2.0 .
#   docker run --rm attn:0.2.0 attn recipes

FROM python:3.11.14-slim-bookworm AS build
# pydensecrf2 is compiled at install.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/attn
ENV PATH=/opt/attn/bin:$PATH
WORKDIR /src
COPY requirements.txt ./
RUN pip install --no-cache-dir --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY attn attn
COPY jobs jobs
COPY services services
RUN pip install --no-cache-dir --no-deps .

FROM python:3.11.14-slim-bookworm
# What Ray's cluster launcher calls inside the container, and wget, by which KubeRay asks whether a node is well. The
# launcher runs each command in a login shell, which sets PATH anew: by /etc/profile and then the files beside it.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openssh-client procps rsync screen wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 attn \
    && echo 'PATH=/opt/attn/bin:$PATH' >/etc/profile.d/attn.sh
COPY --from=build /opt/attn /opt/attn
# NVIDIA's container runtime gives a container those GPUs, and those parts of the driver, that these name.
ENV PATH=/opt/attn/bin:$PATH \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER attn
WORKDIR /home/attn
# A node is well when its Ray answers; a container that runs a single command has no Ray to ask.
HEALTHCHECK --interval=60s --timeout=20s --start-period=60s --retries=3 \
    CMD ! pgrep --exact raylet >/dev/null || ray status >/dev/null
CMD ["attn", "--help"]
