"""Does what is learned keep its promise, and what does it save? An exam in worlds whose truth is planted.

    python evals/world.py [--world DIR] [--regimes two_roles,...] [--seeds 10] [--start 0] [--rows FILE] [--drift]
    python evals/world.py --table FILE          # what the rows of earlier runs add up to

Each seed of each regime goes the whole way: recorded runs of the strongest target are screened (shadow), runs are
randomised among the arms that are left (trial), a plan is declared and certified on fresh runs (trial, calibrate), and
the policy is judged on tasks nobody has seen, beside the strongest target and the best policy there is. The planted
tables are read by the judge only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agentroute import ChatRequest, Router, StepContext
from agentroute.learning.agreement import Act, agrees
from agentroute.learning.bounds import needed
from agentroute.learning.calibrate import Plan, Policy, from_trial, narrowed, proposed
from agentroute.learning.policy_file import written
from agentroute.learning.trial import Arm, Trial

ROOT = Path(__file__).resolve().parent.parent
KEPT = 0.97
CHECKED = ("triage", "coder", "reviewer")
"""Roles with a checker: the README of the worlds names them. Of all others single steps can be reviewed."""

EXPLORE, CERTIFY, JUDGED = 4_000, 8_000, 1_500
"""Tasks of live traffic for the two trials, and tasks on which the result is judged."""

FIRST = 0.4
"""Share of the first trial in which all arms are tried; the rest is for the three of each role that are worth more."""

REVIEWED = 3
"""One of so many runs without a checker is reviewed while arms are looked for: reviews cost calls of the strongest."""

SHADOWED = 40
FOUND = 0.85
"""Share of wrong actions that a reviewer is taken to find; how many right ones it refuses is measured."""

CLEAN = 3
FAILED = ("after_failure", "repeated_failure")


class Served:
    """Serves tasks as a router with a policy would: an arm for each run, the strongest after failures if it says so."""

    def __init__(self, strongest: str, arm_of: Any) -> None:
        self.strongest, self.arm_of = strongest, arm_of
        self.raised: dict[str, int] = {}

    def __call__(self, messages: Any, tools: Any, context: dict[str, Any]) -> str:
        arm: Arm = self.arm_of(context)
        if not arm.up:
            return arm.target
        run, kind = context["conversation_id"], context["kind"]
        if kind in FAILED:
            self.raised[run] = CLEAN
            return self.strongest
        if kind == "summarise":
            return self.strongest
        left = self.raised.get(run, 0)
        if left:
            self.raised[run] = left - 1
            return self.strongest
        return arm.target


@dataclass
class Step:
    """A step of a run whose role has no checker, as a review sees it."""

    conversation: str
    refused: bool
    agrees: bool
    silent: bool = True


@dataclass
class Reviews:
    """Reviews the steps of runs without a checker: the strongest target is asked on the same prefix (reverse shadow),
    and only what it would not have done is shown to a reviewer."""

    world: Any
    strongest: str
    alarm: float
    steps: dict[str, list[Step]] = field(default_factory=lambda: defaultdict(list))
    reviewed: int = 0

    def observe(self, context: dict[str, Any], messages: Any, message: Any, record: Any) -> None:
        conversation = context["conversation_id"]
        before = self.steps.get(context["task"])
        if before and before[-1].conversation == conversation and context["kind"] in FAILED:
            before[-1].silent = False
        if context["role"] in CHECKED or context["parent_id"] or record.target == self.strongest:
            return
        request = request_of(messages, context)
        same = agrees(act_of(message, request), act_of(context["ask"](self.strongest), request))
        refused = False
        if not same:
            self.reviewed += 1
            refused = not self.world.review(messages, message)
        self.steps[context["task"]].append(Step(conversation, refused, same))

    def harm(self, run: Any) -> float:
        """How much more often such a run fails than it would have on the strongest, by this one's steps."""
        if run.p_ok == 0.0:
            return 1.0  # the harness gave up, which everybody sees
        found = self.steps.pop(run.task.id, [])
        told = [step for step in found if not step.agrees and step.silent]
        worth = sum((step.refused - self.alarm) / (FOUND - self.alarm) for step in told)
        return max(min(worth, 1.5), -1.5)


def request_of(messages: Any, context: dict[str, Any]) -> ChatRequest:
    from tasks import TOOLS  # type: ignore[import-not-found]

    key = context["role"]
    if key not in _REQUESTS:
        _REQUESTS[key] = ChatRequest.from_openai({"messages": messages[:1], "tools": TOOLS[key]})
    return _REQUESTS[key]


_REQUESTS: dict[str, ChatRequest] = {}


def act_of(message: Any, request: ChatRequest) -> Act:
    return Act.of(ChatRequest.from_openai({"messages": [message]}).messages[0], request)


def recorded(world: Any, record: Any, n: int) -> list[dict[str, Any]]:
    """Recorded steps of the strongest target, each with its prefix, as traces hold them."""
    found = []
    for run in record(world, n):
        for part in run.segments:
            for each in part["usages"]:
                at = each["message"]
                found.append(
                    {
                        "task": run.task.id,
                        "role": each["record"].role,
                        "messages": part["messages"][:at],
                        "answer": part["messages"][at],
                        "settings": each["settings"],
                        "tokens": each["record"].tokens,
                        "cost": each["record"].cost,
                    }
                )
    return found


def screened(world: Any, steps: list[dict[str, Any]], targets: Any, prices: Any, tokens_of: Any) -> tuple[Any, float]:
    """Targets left by role, cheapest first: shadow excludes those whose reviewed disagreements would fail most runs."""
    spent, left = 0.0, defaultdict(list)
    by_role: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for step in steps:
        if len(by_role[step["role"]]) < SHADOWED * 3:
            by_role[step["role"]].append(step)
    for role, rows in by_role.items():
        for target in targets:
            wrong = 0
            for row in rows[::3]:
                answer, thought = world.answer(target, row["messages"], **row["settings"])
                spent += prices[target].cost(row["tokens"], 0, tokens_of(answer) + thought)
                request = request_of(row["messages"], {"role": role})
                if not agrees(act_of(answer, request), act_of(row["answer"], request)):
                    wrong += not world.review(row["messages"], answer)
            if wrong <= 0.25 * len(rows[::3]):
                left[role].append(target)
    return left, spent


def exam(job: tuple[str, int, dict[str, Any]]) -> dict[str, Any]:
    """One seed of one regime, the whole way."""
    name, seed, options = job
    sys.path.insert(0, options["world"])
    import judge  # type: ignore[import-not-found]
    from regimes import TARGETS  # type: ignore[import-not-found]
    from tasks import PRICES, STRONG, tokens_of
    from world import World, record  # type: ignore[import-not-found]

    world, strongest = World(name, seed), Arm(STRONG)
    n = world.regime.tasks
    row: dict[str, Any] = {"regime": name, "seed": seed, "tasks": n}
    began = time.process_time()
    plan, policy, learning = Plan({}), None, 0.0
    if n < needed(KEPT):
        row["refused"] = f"{n} recorded tasks; {needed(KEPT)} are needed"
    else:
        steps = recorded(world, record, n)
        alarm = statistics.fmean(not world.review(step["messages"], step["answer"]) for step in steps[:1500])
        left, spent = screened(world, steps, [t for t in TARGETS if t != STRONG], PRICES, tokens_of)
        arms = {role: [Arm(t, up) for t in each for up in (False, True)] for role, each in left.items()}
        policy, told = learned(world, arms, strongest, alarm, options)
        row |= told
        row["shadow"] = round(spent, 2)
        learning = spent + told["review_usd"]
        plan = Plan({p.role: Arm(p.target, p.up) for p in policy.profiles if p.licensed})
        if policy is not None and options["drift"]:
            row |= drifts(world, policy, strongest, judge.JUDGE_START + 10_000)
        if policy is not None and options["routed"]:
            row["routed"] = routed(world, policy, strongest, options["routed"], judge.JUDGE_START + 20_000)
    fresh = list(world.tasks(options["judged"], judge.JUDGE_START))
    served = Served(STRONG, lambda context: plan.arms.get(context["role"], strongest))
    best = judge.best_policy(world, KEPT) if options["best"] else None
    rows = []
    for task in fresh:
        runs = [world.run(task, served), world.run(task, judge.router_of(judge.constant(STRONG)))]
        if best is not None:
            runs.append(world.run(task, judge.router_of(best)))
        rows.append(runs)
    cost = [sum(runs[i].cost for runs in rows) for i in range(len(rows[0]))]
    success = [sum(runs[i].p_ok for runs in rows) / len(rows) for i in range(len(rows[0]))]
    row |= {
        "plan": str(plan),
        "kept": success[0] / success[1],
        "saved": 1 - cost[0] / cost[1],
        "best": 1 - cost[2] / cost[1] if best is not None else None,
        "best_kept": success[2] / success[1] if best is not None else None,
        "learning_usd": round(learning, 2),
        "strong_usd_1000": round(1000 * cost[1] / len(rows), 2),
        "cpu_s": round(time.process_time() - began, 1),
    }
    return row


def drifts(world: Any, policy: Policy, strongest: Arm, start: int) -> dict[str, Any]:
    """After how many outcomes of licensed runs the certificate is void: as it is, and in a world that has changed."""
    arms = {p.role: Arm(p.target, p.up) for p in policy.profiles if p.licensed}
    moved = {role: arm for role, arm in arms.items() if role in CHECKED}

    def until_void(changed: Any, tasks: int, roles: set[str]) -> int | None:
        live, seen = policy.live(), 0
        for task in changed.tasks(tasks, start):
            run = changed.run(task, Served(strongest.target, lambda c: arms.get(c["role"], strongest)))
            if task.role in roles:
                seen += 1
                live.observe(task.role, arms[task.role].target, run.ok)
                if live.void:
                    return seen
        return None

    found: dict[str, Any] = {}
    if moved:
        found["false_alarm"] = until_void(world, 1_500, set(moved)) is not None
    if "triage" in moved:
        found["harder"] = until_void(world.drifted("harder"), 1_500, {"triage"}) or 1_000
    cheap = {role for role, arm in moved.items() if arm.target in ("gpt-6-luna", "gemini-3.8-flash")}
    if cheap:
        found["degrade"] = until_void(world.drifted("degrade"), 1_500, cheap) or 1_000
    return found


def routed(world: Any, policy: Policy, strongest: Arm, tasks: int, start: int) -> float:
    """The share of steps that a Router with the policy file sends where the plan says."""
    from world import config

    plan = {p.role: Arm(p.target, p.up) for p in policy.profiles if p.licensed}
    with TemporaryDirectory() as folder:
        pool, file = Path(folder, "agentroute.toml"), Path(folder, "policy.toml")
        pool.write_text(config(9), encoding="utf-8")
        file.write_text(written(policy), encoding="utf-8")
        router = Router.from_config(pool, policy=file)
    steps = [0, 0]

    def choose(messages: Any, tools: Any, context: Any) -> str:
        request = ChatRequest.from_openai({"messages": messages, "tools": tools, **context["settings"]})
        who = {key: context[key] for key in ("conversation_id", "agent", "role", "parent_id")}
        target = router.route(request, context=StepContext(**who)).target
        arm = plan.get(context["role"], strongest)
        raised = arm.up and context["kind"] in (*FAILED, "summarise")
        steps[0] += target == (strongest.target if raised else arm.target)
        steps[1] += 1
        return target

    for task in world.tasks(tasks, start):
        world.run(task, choose)
    return steps[0] / steps[1]


def learned(world: Any, arms: Any, strongest: Arm, alarm: float, options: dict[str, Any]) -> tuple[Policy, Any]:
    """The two trials, and the policy that comes of them."""
    reviews = Reviews(world, strongest.target, alarm)
    told: dict[str, Any] = {"review_usd": 0.0, "trial_usd": 0.0, "runs": 0}
    most = max((len(each) for each in arms.values()), default=0)
    if not most:
        return Policy(strongest.target, date.today(), (), (), ""), told
    first = Trial(strongest.target, arms, share=0.9 / (most + 1), salt="all")
    tried = round(FIRST * options["explore"])
    run_trial(world, first, tried, 1_000, reviews, told, every=REVIEWED)
    fewer = narrowed(first.runs, strongest, kept=KEPT)
    runs = list(first.runs)
    if fewer:
        more = Trial(strongest.target, fewer, share=0.9 / (max(map(len, fewer.values())) + 1), salt="fewer")
        run_trial(world, more, options["explore"] - tried, 1_000 + tried, reviews, told, every=REVIEWED)
        runs += more.runs
    plans = proposed(runs, strongest, kept=KEPT, ahead=options["certify"])
    told["declared"] = str(plans[-1]) if plans else ""
    if not plans:
        return Policy(strongest.target, date.today(), (), (), ""), told
    whole = plans[-1].arms
    second = Trial(strongest.target, {r: [a] for r, a in whole.items()}, share=0.5, together=True, salt="certify")
    run_trial(world, second, options["certify"], 1_000 + options["explore"], reviews, told)
    policy = from_trial(plans, second.runs, strongest, made=date(2026, 11, 28), kept=KEPT)
    told["reviews"] = reviews.reviewed
    return policy, told


def run_trial(
    world: Any, trial: Trial, n: int, start: int, reviews: Reviews, told: dict[str, Any], every: int = 1
) -> None:
    for number, task in enumerate(world.tasks(n, start)):
        given = trial.assign(task.role, task.id)

        def arm_of(context: dict[str, Any], given: Any = given) -> Arm:
            if not context["parent_id"]:
                return given.arm  # type: ignore[no-any-return]
            if trial._together:
                sub = trial.arms.get(context["role"])
                return sub[0] if given.treated and sub else trial.strongest
            return given.arm  # type: ignore[no-any-return]

        looked = task.role in CHECKED or number % every == 0
        observe = reviews.observe if looked else None
        run = world.run(task, Served(trial.strongest.target, arm_of), observe=observe)
        told["review_usd"] += run.shadow
        told["trial_usd"] += run.cost
        told["runs"] += 1
        if not looked:
            continue
        checked = task.role in CHECKED
        if not checked and given.arm == trial.strongest:
            reviews.steps.pop(task.id, None)
            trial.ended(task.id, task.role, harm=0.0, cost=run.cost, steps=len(run.steps))
        elif checked:
            trial.ended(task.id, task.role, ok=run.ok, cost=run.cost, steps=len(run.steps))
        else:
            trial.ended(
                task.id, task.role, harm=reviews.harm(run), cost=run.cost, steps=len(run.steps), source="person"
            )


def by_steps(name: str, seed: int, tasks: int) -> float:
    """What is kept if the promise is made of steps: the cheapest target that is *truly* right at 97 % of the strongest
    one's rate, step by step on prefixes without a fault."""
    import judge
    from tasks import STRONG
    from world import World

    world = World(name, seed)
    policy = judge.Truth(world, 40).greedy(KEPT)
    fresh = list(world.tasks(tasks, judge.JUDGE_START))
    chosen, strong = (
        sum(world.run(task, judge.router_of(each)).p_ok for task in fresh) for each in (policy, judge.constant(STRONG))
    )
    return chosen / strong


def table(path: Path) -> str:
    """What rows add up to, by regime: seeds, those that keep the promise, the least kept; saved, of the bill on the
    strongest; what the best policy saves, and our share of it; USD for asking targets beside the runs, and the bill of
    the trials' own runs."""
    rows: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        held = rows[row["regime"]].setdefault(row["seed"], {})
        held |= {key: value for key, value in row.items() if value is not None}
    lines = [
        f"{'regime':<18}{'seeds':>6}{'kept':>7}{'least':>8}{'saved':>8}{'least':>8}{'best':>7}{'share':>7}{'asked':>8}{'trial':>8}"
    ]
    for name, seeds in rows.items():
        each = [row for row in seeds.values() if "kept" in row and "saved" in row]
        if not each:
            continue
        best = [row["best"] for row in seeds.values() if row.get("best") is not None]
        top = statistics.fmean(best) if best else None
        saved = statistics.fmean(row["saved"] for row in each)
        share = "" if top is None or top < 0.1 else f"{saved / top:.0%}"
        lines.append(
            f"{name:<18}{len(each):>6}{sum(row['kept'] >= KEPT for row in each):>7}"
            f"{min(row['kept'] for row in each):>8.3f}{saved:>8.1%}{min(row['saved'] for row in each):>8.1%}"
            f"{'' if top is None else f'{top:.0%}':>7}{share:>7}"
            f"{statistics.fmean(row['learning_usd'] for row in each):>7.0f}$"
            f"{_bill(each):>8}" + (f"   refused: {each[0]['refused']}" if "refused" in each[0] else "")
        )
    for key in ("harder", "degrade"):
        found = [row[key] for seeds in rows.values() for row in seeds.values() if key in row]
        if found:
            late = sum(each >= 1_000 for each in found)
            lines.append(
                f"drift {key}: void after a median of {statistics.median(found):.0f} outcomes (n {len(found)}, "
                f"not within 1,000 or the tasks there were: {late})"
            )
    same = [row["routed"] for seeds in rows.values() for row in seeds.values() if "routed" in row]
    if same:
        lines.append(f"steps that a Router with the policy file sends as planned: {statistics.fmean(same):.1%}")
    alarms = [row["false_alarm"] for seeds in rows.values() for row in seeds.values() if "false_alarm" in row]
    if alarms:
        lines.append(f"false alarms in 1,500 tasks without a drift: {sum(alarms)} of {len(alarms)} runs")
    return "\n".join(lines)


def _bill(rows: list[dict[str, Any]]) -> str:
    """What the trials' own runs cost, as a share of the strongest target's bill for as many."""
    shares = [
        row["trial_usd"] / (row["strong_usd_1000"] * row.get("runs", EXPLORE + CERTIFY) / 1000)
        for row in rows
        if row.get("declared")
    ]
    return f"{statistics.fmean(shares):.0%}" if shares else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("AGENTROUTE_WORLD", str(ROOT.parent / "shared" / "world"))
    parser.add_argument("--world", default=default)
    parser.add_argument("--regimes", default="")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--explore", type=int, default=EXPLORE)
    parser.add_argument("--certify", type=int, default=CERTIFY)
    parser.add_argument("--judged", type=int, default=JUDGED)
    parser.add_argument("--no-best", action="store_true")
    parser.add_argument("--steps", action="store_true", help="only: what a promise made of steps keeps")
    parser.add_argument("--drift", action="store_true", help="also: when does a drift void the certificate")
    parser.add_argument("--routed", type=int, default=0, help="also: tasks through a Router with the policy file")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    if arguments.table:
        print(table(arguments.table))
        return
    sys.path.insert(0, arguments.world)
    from regimes import REGIMES

    names = arguments.regimes.split(",") if arguments.regimes else list(REGIMES)
    if arguments.steps:
        for name in names:
            kept = [by_steps(name, arguments.start + seed, 600) for seed in range(arguments.seeds)]
            held = sum(each >= KEPT for each in kept)
            print(f"{name:<18} by steps: keeps 97 % in {held} of {len(kept)} seeds, least {min(kept):.2f}")
        return
    options = {**vars(arguments), "best": not arguments.no_best}
    del options["rows"], options["table"]
    jobs = [
        (name, seed, options) for name in names for seed in range(arguments.start, arguments.start + arguments.seeds)
    ]
    rows = []
    with ProcessPoolExecutor(arguments.workers) as pool:
        for row in pool.map(exam, jobs):
            rows.append(row)
            print(json.dumps(row), flush=True)
            if arguments.rows:
                with arguments.rows.open("a") as out:
                    out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
