"""The reckoning as tables, as JSON, and as a verdict. Nothing is measured here."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict

import stage
from reckon import READS, WRITES, percentile


def columns(result):
    """One setup's column: what -> (figure, whether the aim is kept; None where there is none)."""
    wrong, gaps = result['wrong'], result['gaps']
    log = result['log']
    told = {kind: sum(1 for s in log if s.port in ports and s.recovery is not None)
            for kind, ports in (('writes', WRITES), ('reads', READS))}
    out = {'sessions a second': (f"{result['rate']:.0f}", result['rate'] > 0),
           'p50 / p99 of a session, ms': (f"{result['p50'] * 1000:.0f} / {result['p99'] * 1000:.0f}", None)}
    calm, well, *times = result['quiet']
    out['while nothing is wrong: served, p50 / p99 ms'] = (
        f'{well} of {calm}, {times[0] * 1000:.0f} / {times[1] * 1000:.0f}', None)
    out['load of the machine, begin / end'] = (' / '.join(f'{n:.1f}' for n in result['load']), None)
    for port, (total, failed, _) in result['failures'].items():
        out[f'failed on {port} (guard refusals too)'] = (f'{failed} of {total}', None)
    for kind, ports in (('writes', '5433, 5436'), ('reads', '5434')):
        late, early = wrong[kind].late, wrong[kind].early
        out[f'misrouted on {ports}'] = (f'{len(late)} of {told[kind]}', not late and told[kind] > 0)
        out[f'  within the checks’ time ({kind})'] = (str(len(early)), None)
        out[f'  latest of all after, s ({kind})'] = (oldest(late + early), None)
    for mode in ('off', 'on'):
        lost, acked = len(result['missing'][mode]), result['acked'][mode]
        kept = None if mode == 'off' else not lost
        out[f'acknowledged writes missing, synchronous mode {mode}'] = (f'{lost} of {acked}', kept)
    out['writes while two primaries took them'] = (str(len(result['two'])), not result['two'])
    out['  by members asked directly'] = (str(len(result['two_direct'])), None)
    for title, chosen in (('all faults', gaps), ('the primary moves', [g for g in gaps if g[0].moved])):
        for what, place in (('write gap', 1), ("Patroni's share", 2), ("load balancer's share", 3)):
            values = [g[place] for g in chosen]
            out[f'{what}, p50 / p99 s ({title}: {len(values)})'] = (
                f'{percentile(values, 50):.1f} / {percentile(values, 99):.1f}', None)
    asked = [d['verify'] for d in result['done'] if d['verify']]
    named = [v for v in asked if v['named'] is not None]
    if asked:
        out['verify names the cause'] = (f'{len(named)} of {len(asked)}', len(named) == len(asked))
        out['  at the first time of asking'] = (str(sum(1 for v in asked if not v['lacked_first'])), None)
    out['members made anew by hand'] = (str(len(result['made_anew'])), None)
    return out


def oldest(found):
    ages = [age for _, _, age in found if age is not None]
    return f'{max(ages):.1f}' if ages else '-'


def by_fault(results):
    """A line for each kind of fault: gaps and mistakes, setup by setup."""
    names = list(dict.fromkeys(t.name for result in results.values() for t, *_ in result['gaps']))
    rows = [['fault', 'times', *(f'{setup}: {what}' for setup in results
                                 for what in ('gap s', 'its share', 'wrong writes', 'wrong reads')), 'verify']]
    for name in names:
        row, verify = [name], '-'
        for number, result in enumerate(results.values()):
            mine = [g for g in result['gaps'] if g[0].name == name]
            if number == 0:
                row.append(str(len(mine)))
            row += [f'{max((g[1] for g in mine), default=0):.1f}', f'{max((g[3] for g in mine), default=0):.1f}']
            for kind in ('writes', 'reads'):
                count = [sum(1 for t, *_ in part if t and t.name == name)
                         for part in (result['wrong'][kind].late, result['wrong'][kind].early)]
                row.append(f'{count[0]}+{count[1]}')
            asked = [d['verify'] for d in result['done'] if d['name'] == name and d['verify']]
            if asked:
                verify = f"{sum(1 for v in asked if v['named'] is not None)}/{len(asked)}"
        rows.append([*row, verify])
    return rows


def table(rows):
    wide = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        print('  '.join(text.ljust(width) for text, width in zip(row, wide)).rstrip(), flush=True)


def tell(wanted, slots, results, took):
    print(f'{os.cpu_count()} cores, {took / 60:.1f} minutes')
    by_setup = {setup: columns(result) for setup, result in results.items()}
    first = next(iter(by_setup.values()))
    rows = [['', *by_setup, '']]
    for what in dict.fromkeys(key for column in by_setup.values() for key in strip(column)):
        figures = [strip(column).get(what, ('-', None)) for column in by_setup.values()]
        broken = list(by_setup)[0] == 'pgsvc' and figures[0][1] is False
        rows.append([what, *(figure for figure, _ in figures), 'BROKEN' if broken else ''])
    table(rows)
    print()
    table(by_fault(results))
    print('(wrong: after the time that the checks need + within it; share: the gap without what members, asked directly, '
          'took themselves)')
    for setup, result in results.items():
        explain(setup, result)
    good = all(kept is not False for _, kept in first.values())
    if len(results) == 2:
        # What Patroni makes of a fault is not the same each time: only where the primary moved in both is compared.
        both = [pair for pair in zip(results['pgsvc']['gaps'], results['plain']['gaps']) if pair[0][0].moved and pair[1][0].moved]
        mine, other = (sum(pair[n][3] for pair in both) for n in (0, 1))
        good = good and mine <= other
        print(f"without writes for the load balancer's sake, in the {len(both)} faults in which the primary moved both times: "
              f"pgsvc {mine:.1f} s, plain {other:.1f} s{'' if mine <= other else ': BROKEN'}")
    print('the aim is kept' if good else 'THE AIM IS BROKEN')
    (stage.OUT / 'chaos.json').write_text(json.dumps(plain(wanted, slots, results, by_setup, took, good), indent=1) + '\n')
    return good


def strip(column):
    """Rows that tell how many faults there were, under one name for both setups."""
    return {key.split(': ')[0] + ')' if key.endswith(')') and ': ' in key else key: value for key, value in column.items()}


def explain(setup, result):
    """Every wrong session by its fault: how many, for how long, where."""
    for kind in ('writes', 'reads'):
        for which, found in (('late', result['wrong'][kind].late), ('in the checks’ time', result['wrong'][kind].early)):
            groups = defaultdict(list)
            for t, s, age in found:
                groups[t].append((s, age))
            for t, each in groups.items():
                ages = [age for _, age in each if age is not None]
                span = each[-1][0].at - each[0][0].at
                where = Counter(f'{s.port} on {s.member}' for s, _ in each)
                print(f'{setup}: {len(each)} wrong {kind} ({which}) after {t.name if t else "nothing"}, for {span:.1f} s from '
                      f'{each[0][0].at - (t.begin if t else 0):.1f} s on, role changed at most '
                      f'{max(ages, default=0):.1f} s before: {", ".join(f"{n} {w}" for w, n in where.items())}')
        for mode, lost in result['missing'].items():
            if kind == 'writes' and lost:
                print(f'{setup}: {len(lost)} acknowledged writes missing, synchronous mode {mode}: '
                      f'{Counter(f"{s.member} on timeline {s.timeline}" for s in lost)}')


def plain(wanted, slots, results, by_setup, took, good):
    return {
        'cores': os.cpu_count(), 'seconds': round(took), 'wanted': wanted, 'good': good,
        'schedule': [{'at': s.at, 'fault': s.name, 'synchronous': s.sync} for s in slots],
        'setups': {setup: {
            'figures': {what: figure for what, (figure, _) in by_setup[setup].items()},
            'failures': {port: {'sessions': total, 'failed': failed, 'errors': errors}
                         for port, (total, failed, errors) in result['failures'].items()},
            'misrouted': {kind: [{'fault': t.name if t else None, 'port': s.port, 'member': s.member, 'at': round(s.at, 3),
                                  'after_role_change': age, 'late': late}
                                 for late, part in ((True, result['wrong'][kind].late), (False, result['wrong'][kind].early))
                                 for t, s, age in part[:200]] for kind in ('writes', 'reads')},
            'schedule_was_late_by': round(result['shift'], 1),
            'faults': [{'fault': t.name, 'synchronous': t.sync, 'moved': t.moved, 'gap': round(ports, 2),
                        'members': round(direct, 2), 'share': round(share, 2), 'verify': d['verify']}
                       for (t, ports, direct, share), d in zip(result['gaps'], result['done'])],
        } for setup, result in results.items()},
    }
