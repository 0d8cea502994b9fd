# The service in a container: CPU only, nothing but the package, no root, no write access but to /index.
#
#   docker build -t glocal:cpu .
#   docker run --rm --read-only --tmpfs /tmp -v "$PWD/photos:/photos:ro" -v glocal:/index glocal:cpu \
#       index /photos --index /index
#   docker run --rm --read-only --tmpfs /tmp -v "$PWD/photos:/photos:ro" -v glocal:/index \
#       -e GLOCAL_KEY="$(openssl rand -hex 24)" -p 127.0.0.1:8080:8080 glocal:cpu
#
# In a container the service has to listen beyond loopback, so it wants a key.

FROM python:3.11-slim AS build
# Without torch the image is much smaller, and the classical model (rootsift) is what describes photos: EXTRAS=serve
ARG EXTRAS=serve,torch,milvus
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/glocal
WORKDIR /source
COPY constraints constraints
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/glocal/bin/pip install --constraint constraints/ci-cpu.txt --extra-index-url "$TORCH_INDEX" ".[$EXTRAS]"
# Files for newer versions of Python, which torch brings too, do not compile; those stay as they are.
RUN /opt/glocal/bin/python -m compileall -qq /opt/glocal/lib || true

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin glocal \
    && install -d -o glocal -g glocal -m 0700 /index \
    && install -d -m 0755 /photos
COPY --from=build /opt/glocal /opt/glocal
ENV PATH=/opt/glocal/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 XDG_DATA_HOME=/index/home
USER 10001:10001
WORKDIR /photos
VOLUME /index
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
ENTRYPOINT ["glocal"]
CMD ["serve", "/index", "--host", "0.0.0.0", "--port", "8080", "--no-open"]
