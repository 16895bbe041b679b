"""Logs: JSON lines, ids of the context, nothing secret in them."""

import io
import json
import logging

import pytest
import structlog

from shopfloor.base.errors import SettingsError
from shopfloor.infra import metrics
from shopfloor.infra.redaction import MASK, REDACTOR, Redactor
from shopfloor.infra.telemetry import MAX_TEXT_CHARS, LogSettings, bind, configure_logging

FAKE_KEYS = [
    "sk-ant-api03-FAKEfakeFAKEfake0000",
    "sk-proj-FAKEfakeFAKEfake0000",
    "sf_live_0a1b2c3d_FAKEfakeFAKEfake",
    "AKIAFAKEFAKEFAKE0000",
    "ghp_FAKEfakeFAKEfakeFAKEfake0000fakefake",
    "github_pat_FAKEfakeFAKEfake0000",
    "glpat-FAKEfakeFAKEfake0000",
    "gsk_FAKEfakeFAKEfake0000",
    "xai-FAKEfakeFAKEfake0000",
    "hvs.FAKEfakeFAKEfake0000",
    "AIzaFAKEfakeFAKEfakeFAKEfakeFAKEfake000",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJmYWtlIn0.FAKEfakeFAKE",
    "-----BEGIN RSA PRIVATE KEY-----\nFAKEfake\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nFAKEfake and the end never came",
]


@pytest.fixture
def lines():
    stream = io.StringIO()
    handlers, level = logging.getLogger().handlers, logging.getLogger().level
    configure_logging(LogSettings(format="json"), stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    logging.getLogger().handlers = handlers
    logging.getLogger().setLevel(level)


@pytest.mark.parametrize("key", FAKE_KEYS)
def test_a_key_of_a_known_format_is_struck_out_wherever_it_stands(key):
    redacted = Redactor().text(f"before {key} after")
    assert MASK in redacted
    assert "FAKE" not in redacted
    assert redacted.startswith("before ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer fakefakefake", f"Authorization: Bearer {MASK}"),
        ("authorization: basic ZmFrZTpmYWtl", f"authorization: basic {MASK}"),
        ("https://me:fake-password@git.example/r.git", f"https://{MASK}@git.example/r.git"),
        ("postgresql://app:fake@localhost/db?sslmode=off", f"postgresql://{MASK}@localhost/db?sslmode=off"),
        ("api_key=fakefake&page=2", f"api_key={MASK}&page=2"),
        ('{"password": "fake-words"}', f'{{"password": "{MASK}"}}'),
    ],
)
def test_credentials_in_headers_urls_and_pairs_are_struck_out_and_the_rest_stays(text, expected):
    assert Redactor().text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "input_tokens=5000 max_tokens=100",
        "ask-me-anything about skiing",
        "https://example.com/a@b",
        "the bearer of news",
        "task-42 finished in 3 s",
    ],
)
def test_ordinary_text_is_left_alone(text):
    assert Redactor().text(text) == text


def test_a_secret_in_use_is_struck_out_in_all_its_encodings_until_it_is_forgotten():
    redactor = Redactor()
    redactor.remember('pa$$ "word" / fake')
    percent, base64, quoted = "pa%24%24%20%22word%22%20%2F%20fake", "cGEkJCAid29yZCIgLyBmYWtl", r"pa$$ \"word\" / fake"
    for form in ('pa$$ "word" / fake', percent, base64, quoted):
        assert redactor.text(f"x {form} y") == f"x {MASK} y"
    redactor.forget('pa$$ "word" / fake')
    assert redactor.text('pa$$ "word" / fake') == 'pa$$ "word" / fake'


def test_a_secret_registered_twice_stays_hidden_until_both_let_go():
    redactor = Redactor()
    redactor.remember("correct-horse-fake")
    redactor.remember("correct-horse-fake")
    redactor.forget("correct-horse-fake")
    assert redactor.text("correct-horse-fake") == MASK


def test_the_value_of_a_name_that_says_secret_goes_and_token_counts_stay():
    value = {"password": "x", "Set-Cookie": "a=b", "nested": [{"api_key": 12345}], "input_tokens": 7, "token": None}
    assert Redactor().value(value) == {
        "password": MASK,
        "Set-Cookie": MASK,
        "nested": [{"api_key": MASK}],
        "input_tokens": 7,
        "token": None,
    }


def test_an_endlessly_nested_value_ends():
    loop: list[object] = []
    loop.append(loop)
    assert "[too deep]" in str(Redactor().value(loop))


def test_an_event_is_one_json_line_with_the_ids_of_its_context(lines):
    with bind(request_id="r-1", job_id=None, organization_id=7):
        structlog.get_logger().info("job.submitted", cost_nanos=5)
    (line,) = lines()
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "info",
        "event": "job.submitted",
        "request_id": "r-1",
        "organization_id": "7",
        "cost_nanos": 5,
    }


def test_secrets_are_struck_out_of_events_exceptions_and_foreign_loggers(lines):
    canary = "fake-canary-secret-0001"
    REDACTOR.remember(canary)
    try:
        log = structlog.get_logger()
        log.warning("provider.failed", url=f"https://u:{canary}@host/", detail={"key": FAKE_KEYS[0], "password": "p"})
        try:
            int(f"the key {canary} is wrong")
        except ValueError:
            log.exception("provider.crashed")
            logging.getLogger("some.library").exception("failed with %s", canary)
        logging.getLogger("some.library").warning("plain", extra={"authorization": canary})
    finally:
        REDACTOR.forget(canary)
    text = json.dumps(lines())
    assert len(lines()) == 4
    assert canary not in text
    assert "FAKE" not in text
    assert "ValueError" in text  # positive control: the traceback itself is there
    assert lines()[2]["event"] == f"failed with {MASK}"


def test_newlines_and_terminal_codes_in_values_forge_no_line(lines):
    structlog.get_logger().info("x", name='a\n{"event":"forged"}\x1b[2J')
    (line,) = lines()
    assert line["name"] == 'a\n{"event":"forged"}\x1b[2J'


def test_a_console_line_shows_control_characters_instead_of_obeying_them():
    stream = io.StringIO()
    handlers = logging.getLogger().handlers
    configure_logging(LogSettings(format="console"), stream=stream)
    structlog.get_logger().info("hello\nforged line", name="\x1b[2Jx")
    structlog.reset_defaults()
    logging.getLogger().handlers = handlers
    assert stream.getvalue().count("\n") == 1
    assert "\x1b[2J" not in stream.getvalue()
    assert "hello\\nforged line" in stream.getvalue()


def test_a_value_over_the_limit_is_cut_and_no_half_secret_survives_the_cut(lines):
    text = "x" * (MAX_TEXT_CHARS - 10) + " " + FAKE_KEYS[0] + "y" * MAX_TEXT_CHARS
    structlog.get_logger().info("big", body=text)
    (line,) = lines()
    assert len(line["body"]) < MAX_TEXT_CHARS + 20
    assert "FAKE" not in line["body"]


def test_an_event_with_a_lone_surrogate_is_still_written(lines):
    structlog.get_logger().info("odd", name="\ud800", big=2**70)
    (line,) = lines()
    assert line["event"] == "odd"


def test_levels_below_the_setting_are_not_written(lines):
    structlog.get_logger().debug("quiet")
    assert lines() == []


def test_metric_names_carry_their_unit():
    with pytest.raises(SettingsError, match="_total"):
        metrics.counter("shopfloor_jobs", "x")
    with pytest.raises(SettingsError, match="_seconds"):
        metrics.histogram("shopfloor_job_duration", "x")
    with pytest.raises(SettingsError, match="shopfloor_"):
        metrics.gauge("jobs", "x")
    with pytest.raises(SettingsError, match="counter"):
        metrics.gauge("shopfloor_jobs_total", "x")


def test_the_metrics_page_holds_our_counters_and_the_process():
    metrics.counter("shopfloor_test_things_total", "Things of this test.", ["kind"]).labels("a").inc(3)
    body, content_type = metrics.render()
    assert 'shopfloor_test_things_total{kind="a"} 3.0' in body.decode()
    assert "process_cpu_seconds_total" in body.decode()
    assert content_type.startswith("text/plain")
