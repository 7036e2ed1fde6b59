#!/usr/bin/python3
"""The daemon as it is installed, under a real systemd: each check is a sentence of an operator."""

import datetime
import json
import os
import signal
import subprocess
import sys
import time
import traceback
import urllib.request

SIM = "http://127.0.0.1:8080"
SECRET = "s3cr3t+ &=~%canary"
SCHEDULE = "/etc/adf-cron/schedule.yaml"
LIMIT = 60

HEAD = f"""azure:
  authority: {SIM}
  resource_manager: {SIM}
  tenant_id: contoso.onmicrosoft.com
  client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
  client_secret: {{ credential: client-secret }}
  subscription_id: 00000000-0000-0000-0000-000000000000
  resource_group: rg-data
  factory: adf-prod
daemon: {{ heartbeat: 1s, horizon: 3s }}
pipelines:
"""


def entry(name):
    return (f"  - {{ name: {name}, pipeline: {name}, schedule: {{ every: 2s }}, missed: all, settle: 1s,"
            " parameters: { at: '{{ scheduled_time }}' } }\n")


def sh(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def sim(path, patch=None):
    body = None if patch is None else json.dumps(patch).encode()
    request = urllib.request.Request(SIM + "/sim/" + path, data=body, method="GET" if patch is None else "PATCH")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def journal(*matches):
    sh("journalctl", "--sync")
    out = sh("journalctl", "-o", "json", "--all", "-q", "_SYSTEMD_UNIT=adf-cron.service", *matches, check=False).stdout
    return [json.loads(line) for line in out.splitlines()]


def show(name):
    return sh("systemctl", "show", "-P", name, "adf-cron").stdout.strip()


def wait(what, check, limit=LIMIT):
    """Asks again until the answer is true: neither the journal nor systemd can be awaited from here."""
    end = time.monotonic() + limit
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, f"waited {limit} s for {what}"
        time.sleep(0.05)


def runs():
    return [run["parameters"]["at"] for run in sim("runs") if run["pipeline"] == "tick"]


def write(text):
    with open(SCHEDULE + ".new", "w") as file:
        file.write(text)
    os.rename(SCHEDULE + ".new", SCHEDULE)


def install():
    """The steps of deploy/install.md."""
    sh("install", "-D", "-m", "644", "/deploy/sysusers.d/adf-cron.conf", "/usr/lib/sysusers.d/adf-cron.conf")
    sh("systemd-sysusers")
    sh("install", "-d", "-m", "755", "/etc/adf-cron")
    sh("install", "-m", "640", "-g", "adf-cron", "/deploy/schedule.yaml", SCHEDULE)
    with open("/etc/adf-cron/client-secret", "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(SECRET)
    sh("install", "-m", "644", "/deploy/adf-cron.service", "/etc/systemd/system/adf-cron.service")
    sh("install", "-D", "-m", "644", "/deploy/adf-cron.service.d/credential.conf",
       "/etc/systemd/system/adf-cron.service.d/credential.conf")
    sh("systemctl", "daemon-reload")
    subprocess.Popen(["systemd-run", "-q", "--unit=sim", "/usr/local/bin/azure-sim", "--listen", "127.0.0.1:8080",
                      "--client-secret", SECRET]).wait()
    wait("the stand-in", lambda: subprocess.run(["systemctl", "-q", "is-active", "sim"]).returncode == 0)

    def answers():
        try:
            return sim("state")
        except OSError:
            return None
    wait("the stand-in to answer", answers)


def the_unit_is_sound_and_exposes_little():
    said = sh("systemd-analyze", "verify", "/etc/systemd/system/adf-cron.service")
    assert not said.stdout + said.stderr, said.stdout + said.stderr
    table = json.loads(sh("systemd-analyze", "security", "--offline=yes", "--json=short",
                          "/etc/systemd/system/adf-cron.service", check=False).stdout or "[]")
    done = sh("systemd-analyze", "security", "--offline=yes", "--threshold=11",
              "/etc/systemd/system/adf-cron.service", check=False)
    assert done.returncode == 0, done.stdout[-300:]
    assert table, "the exposure was measured"


def a_schedule_that_was_never_good_ends_with_78_and_is_not_restarted():
    write("pipelines: nonsense\n")
    assert sh("systemctl", "start", "adf-cron", check=False).returncode != 0
    assert show("ExecMainStatus") == "78", show("ExecMainStatus")
    assert show("ActiveState") == "failed" and show("NRestarts") == "0"
    assert journal("EVENT=schedule.rejected")


def start_returns_once_the_schedule_is_in_force():
    write(HEAD + entry("tick"))
    os.makedirs("/var/lib/adf-cron", exist_ok=True)
    # A ledger that cannot be opened yet: the place is taken by a folder.
    os.makedirs("/var/lib/adf-cron/ledger.db", exist_ok=True)
    sh("chown", "-R", "adf-cron:adf-cron", "/var/lib/adf-cron")
    sh("systemctl", "reset-failed", "adf-cron")
    starting = subprocess.Popen(["systemctl", "start", "adf-cron"])
    wait("the ledger to be refused", lambda: journal("EVENT=ledger.failed"))
    assert show("ActiveState") == "activating", show("ActiveState")
    wait("the status", lambda: "ledger" in show("StatusText"))
    assert starting.poll() is None
    os.rmdir("/var/lib/adf-cron/ledger.db")
    assert starting.wait(timeout=LIMIT) == 0
    assert show("ActiveState") == "active"
    assert journal("EVENT=schedule.loaded")


def the_journal_has_native_fields_and_the_status_is_one_line():
    event = wait("a run", lambda: journal("EVENT=run.created"))[0]
    for field in ["ENTRY", "PIPELINE", "FACTORY", "KIND", "FIRING_ID", "RUN_ID", "ATTEMPT", "LATENESS_MS", "ANSWER_MS",
                  "SCHEDULED_TIME", "MONITOR_URL", "MESSAGE"]:
        assert event.get(field), f"{field} is missing in {event}"
    assert event["PRIORITY"] == "6", event["PRIORITY"]
    assert not [field for field in event if field.startswith("F_")], event
    assert event["_SYSTEMD_UNIT"] == "adf-cron.service" and event["_TRANSPORT"] == "journal", event
    # The fields are what journalctl is asked by.
    assert journal("RUN_ID=" + event["RUN_ID"])
    status = wait("the status", lambda: "tick" in show("StatusText") and show("StatusText"))
    assert "\n" not in status, status


def the_secret_is_handed_over_and_written_nowhere():
    assert journal("EVENT=token.acquired")
    everything = json.dumps(journal())
    assert "canary" not in everything and "eyJ" not in everything
    assert oct(os.stat("/etc/adf-cron/client-secret").st_mode & 0o777) == "0o600"
    state = os.stat("/var/lib/adf-cron")
    assert oct(state.st_mode & 0o777) == "0o750", oct(state.st_mode)
    assert sh("stat", "-c", "%U:%G", "/var/lib/adf-cron").stdout.strip() == "adf-cron:adf-cron"
    assert oct(os.stat("/var/lib/adf-cron/ledger.db").st_mode & 0o007) == "0o0"


def a_good_edit_is_in_force_after_the_reload():
    write(HEAD + entry("tick") + entry("added"))
    sh("systemctl", "reload", "adf-cron")
    wait("a run of the new entry", lambda: journal("EVENT=run.created", "ENTRY=added"))
    assert len(journal("EVENT=schedule.loaded")) == 2
    assert show("ActiveState") == "active"


def a_bad_edit_fails_the_reload_visibly_and_the_old_schedule_goes_on():
    write(HEAD + entry("tick") + entry("added").replace("pipeline:", "pipelin:"))
    failed = sh("systemctl", "reload", "adf-cron", check=False)
    assert failed.returncode != 0
    said = "\n".join(line["MESSAGE"] for line in journal() if isinstance(line.get("MESSAGE"), str))
    assert f"{SCHEDULE}:13:" in said and "did you mean `pipeline`?" in said, said[-2000:]
    assert show("ActiveState") == "active"
    before = len(runs())
    wait("runs of the old schedule", lambda: len(runs()) >= before + 2)
    # The daemon itself refuses it too, if somebody sends the signal past systemd.
    sh("systemctl", "kill", "-s", "HUP", "adf-cron")
    rejected = wait("schedule.rejected", lambda: journal("EVENT=schedule.rejected", "LOCATION=" + f"{SCHEDULE}:13:20"))
    assert rejected[0]["PRIORITY"] == "3"
    wait("the status", lambda: "REJECTED" in show("StatusText"))
    write(HEAD + entry("tick"))
    sh("systemctl", "reload", "adf-cron")
    wait("the status", lambda: "REJECTED" not in show("StatusText"))


def after_kill_9_systemd_restarts_it_and_nothing_is_lost_or_doubled():
    # Whatever is sent a second time without a look shows as a second run.
    sim("switches", {"repeated_id": "new_run"})
    before = int(show("NRestarts"))
    for _ in range(2):
        count = len(runs())
        wait("a run", lambda: len(runs()) > count)
        sh("systemctl", "kill", "-s", "KILL", "adf-cron")
        before += 1
        wait("a restart", lambda: int(show("NRestarts")) == before and show("ActiveState") == "active")
    count = len(runs())
    wait("two runs after it", lambda: len(runs()) >= count + 2)
    seconds = sorted(int(sh("date", "-d", at, "+%s").stdout) for at in set(runs()))
    missing = set(range(seconds[0], seconds[-1] + 1, 2)) - set(seconds)
    wait(f"the runs of {sorted(missing)}", lambda: missing <= {int(sh("date", "-d", at, "+%s").stdout) for at in runs()})
    assert len(runs()) == len(set(runs())), "each nominal time has one run"


def told(*names):
    """The runs of these events, each as often as it was told of. journald cannot say any more which unit sent what it
    receives when the process is gone, so they are asked for by the name of the program."""
    sh("journalctl", "--sync")
    matches = ["EVENT=" + name for name in names]
    out = sh("journalctl", "-o", "json", "-q", "-t", "adf-cron", *matches, check=False).stdout
    return [json.loads(line)["RUN_ID"] for line in out.splitlines()]


def untold():
    known = told("run.created", "run.adopted")
    return [run for run in sim("runs") if run["run_id"] not in known]


def wait_for_all_events():
    try:
        wait("the events of all runs", lambda: not untold())
    except AssertionError as error:
        raise AssertionError(f"{error}: {untold()}")


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def a_journald_that_receives_nothing_for_a_minute_makes_nothing_late_and_gets_all_events_later():
    # More than any socket has room for: ten events a second, with those that tell of plans.
    os.makedirs("/run/systemd/system/adf-cron.service.d", exist_ok=True)
    with open("/run/systemd/system/adf-cron.service.d/debug.conf", "w") as file:
        file.write("[Service]\nEnvironment=ADF_CRON_LOG=debug\n")
    sh("systemctl", "daemon-reload")
    write(HEAD + entry("tick") + "".join(entry(f"busy-{n}") for n in range(9)))
    sh("systemctl", "restart", "adf-cron")
    journald = int(sh("systemctl", "show", "-P", "MainPID", "systemd-journald").stdout)
    wait("a run", lambda: [run for run in sim("runs") if run["pipeline"] == "busy-8"])
    before, restarts = len(sim("runs")), show("NRestarts")
    os.kill(journald, signal.SIGSTOP)
    try:
        time.sleep(60)  # it is about a minute of silence
        meanwhile = sim("runs")[before:]
    finally:
        os.kill(journald, signal.SIGCONT)
    ticks = sorted(seconds(run["parameters"]["at"]) for run in meanwhile if run["pipeline"] == "tick")
    assert len(ticks) >= 29 and ticks == list(range(int(ticks[0]), int(ticks[-1]) + 1, 2)), ticks
    late = max(seconds(run["arrived_at"]) - seconds(run["parameters"]["at"]) for run in meanwhile)
    print(f"# the latest of {len(meanwhile)} starts came {late * 1000:.0f} ms after its time")
    # On a quiet machine it is below 50 ms.
    assert late < 1, late
    wait_for_all_events()
    created = [run for run in told("run.created") if run in {run["run_id"] for run in meanwhile}]
    assert len(created) == len(set(created)), "each is told of once"
    assert show("NRestarts") == restarts and show("ActiveState") == "active"


def a_stop_while_journald_receives_nothing_ends_in_time_and_the_next_start_tells_the_rest():
    journald = int(sh("systemctl", "show", "-P", "MainPID", "systemd-journald").stdout)
    before = len(sim("runs"))
    os.kill(journald, signal.SIGSTOP)
    try:
        wait("more runs than a socket has room for", lambda: len(sim("runs")) >= before + 100)
        began = time.monotonic()
        sh("systemctl", "stop", "adf-cron")
        took = time.monotonic() - began
    finally:
        os.kill(journald, signal.SIGCONT)
    print(f"# the stop took {took:.1f} s")
    assert show("Result") == "success" and took < 15, (show("Result"), took)
    os.remove("/run/systemd/system/adf-cron.service.d/debug.conf")
    sh("systemctl", "daemon-reload")
    write(HEAD + entry("tick"))
    sh("systemctl", "start", "adf-cron")
    wait_for_all_events()


def a_loop_that_hangs_is_ended_by_the_watchdog():
    os.makedirs("/run/systemd/system/adf-cron.service.d", exist_ok=True)
    with open("/run/systemd/system/adf-cron.service.d/short.conf", "w") as file:
        file.write("[Service]\nWatchdogSec=5s\n")
    sh("systemctl", "daemon-reload")
    sh("systemctl", "restart", "adf-cron")
    time.sleep(8)  # longer than the watchdog: a daemon that is well is left alone
    before = int(show("NRestarts"))
    assert before == 0 and show("ActiveState") == "active", show("NRestarts")
    sh("systemctl", "kill", "-s", "STOP", "adf-cron")
    wait("a restart", lambda: int(show("NRestarts")) == before + 1 and show("ActiveState") == "active")


def history():
    return json.loads(sh("runuser", "-u", "adf-cron", "--", "adf-cron", "history", "-n", "1000", "--format", "json").stdout)


def a_stop_lets_the_call_under_way_end():
    now = sh("date", "-u", "+%Y-%m-%dT%H:%M:%SZ").stdout.strip()
    wait("the end of what the last check left open",
         lambda: not [r for r in history() if r["scheduled_time"] <= now and r["state"] in ("planned", "waiting", "unknown")])
    sim("switches", {"create_run_delay_ms": 3000})
    calls = lambda: len([r for r in sim("requests") if r["operation"] == "create_run" and r["status"] is None])
    wait("a call under way", lambda: calls() > 0)
    sh("systemctl", "stop", "adf-cron")
    sim("switches", {"create_run_delay_ms": 0})
    assert show("Result") == "success" and show("ActiveState") == "inactive", show("Result")
    stopped = journal("EVENT=daemon.stopped")[-1]
    assert stopped["OPEN_FIRINGS"] == "0", stopped
    assert not untold(), f"runs that were never told of: {untold()}"
    rows = history()
    assert {row["state"] for row in rows} <= {"accepted", "skipped"}, {row["state"] for row in rows}


def somebody_of_the_group_reads_the_history_without_root():
    sh("useradd", "-G", "adf-cron", "oncall")
    rows = sh("runuser", "-u", "oncall", "--", "adf-cron", "history", "-n", "3").stdout
    assert "tick" in rows, rows
    sh("systemctl", "start", "adf-cron")
    rows = sh("runuser", "-u", "oncall", "--", "adf-cron", "history", "-n", "3").stdout
    assert "tick" in rows, rows
    sh("systemctl", "stop", "adf-cron")


def an_emptied_file_leaves_the_last_good_schedule_running_from_a_ledger_of_its_own():
    write("ledger: sqlite:///var/lib/adf-cron/own.db\n" + HEAD + entry("tick"))
    sh("systemctl", "start", "adf-cron")
    sh("systemctl", "stop", "adf-cron")
    write("")
    sh("systemctl", "start", "adf-cron")
    rejected = journal("EVENT=schedule.rejected")[-1]["MESSAGE"]
    assert "its ledger is /var/lib/adf-cron/own.db, as /var/lib/adf-cron/schedule-" in rejected, rejected
    before = len(runs())
    wait("a run", lambda: len(runs()) > before)
    status = sh("runuser", "-u", "oncall", "--", "adf-cron", "status", check=False)
    assert status.returncode == 1 and "the last good schedule is used" in status.stdout, status
    os.symlink("/var/lib/adf-cron/own.db", "/var/lib/adf-cron/link.db")
    other = "/etc/adf-cron/other.yaml"
    with open(other, "w") as file:
        file.write("ledger: sqlite:///var/lib/adf-cron/link.db\n" + HEAD + entry("tick"))
    second = sh("runuser", "-u", "adf-cron", "--", "adf-cron", "run", "-c", other, check=False)
    assert second.returncode == 69 and "another adf-cron already runs" in second.stdout, second
    sh("systemctl", "stop", "adf-cron")


CHECKS = [
    the_unit_is_sound_and_exposes_little,
    a_schedule_that_was_never_good_ends_with_78_and_is_not_restarted,
    start_returns_once_the_schedule_is_in_force,
    the_journal_has_native_fields_and_the_status_is_one_line,
    the_secret_is_handed_over_and_written_nowhere,
    a_good_edit_is_in_force_after_the_reload,
    a_bad_edit_fails_the_reload_visibly_and_the_old_schedule_goes_on,
    after_kill_9_systemd_restarts_it_and_nothing_is_lost_or_doubled,
    a_journald_that_receives_nothing_for_a_minute_makes_nothing_late_and_gets_all_events_later,
    a_stop_while_journald_receives_nothing_ends_in_time_and_the_next_start_tells_the_rest,
    a_loop_that_hangs_is_ended_by_the_watchdog,
    a_stop_lets_the_call_under_way_end,
    somebody_of_the_group_reads_the_history_without_root,
    an_emptied_file_leaves_the_last_good_schedule_running_from_a_ledger_of_its_own,
]


def main():
    version = sh("systemctl", "--version").stdout.split()[1]
    failed = 0
    try:
        install()
        for check in CHECKS:
            name = check.__name__.replace("_", " ")
            began = time.monotonic()
            try:
                check()
                print(f"ok {name} ({time.monotonic() - began:.1f} s)")
            except Exception:
                failed += 1
                print(f"not ok {name}\n{traceback.format_exc()}")
        print(f"# systemd {version}: {len(CHECKS) - failed} of {len(CHECKS)} checks hold")
    except Exception:
        failed += 1
        print("not ok install\n" + traceback.format_exc())
    with open("/out/journal", "w") as file:
        file.write(sh("journalctl", "-q", "--no-pager", "-n", "200", check=False).stdout)
    with open("/out/status", "w") as file:
        file.write(str(failed))
    sys.stdout.flush()


main()
