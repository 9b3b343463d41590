"""The growth as a drawing: milliseconds over clusters, both logarithmic, so that linear growth is a line of slope one."""

from __future__ import annotations

import math

WIDE, HIGH, LEFT, TOP, RIGHT, BOTTOM = 640, 400, 64, 24, 120, 48
SERIES = (('plan_ms', 'plan, all of it', '#1f77b4'), ('unchanged_ms', 'no change', '#2ca02c'),
          ('read_ms', 'reading', '#7f7f7f'), ('haproxy_c_ms', 'haproxy -c', '#d62728'))


def svg(sizes: list[dict]) -> str:
    xs = [s['clusters'] for s in sizes]
    values = [s[key] for s in sizes for key, _, _ in SERIES]
    low, high = (10 ** f(math.log10(v)) for f, v in ((math.floor, min(values)), (math.ceil, max(values))))

    def x(v: float) -> float:
        return LEFT + (WIDE - LEFT - RIGHT) * math.log(v / xs[0]) / math.log(xs[-1] / xs[0])

    def y(v: float) -> float:
        return HIGH - BOTTOM - (HIGH - TOP - BOTTOM) * math.log(v / low) / math.log(high / low)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDE}" height="{HIGH}" fill="white"/>']
    tick = low
    while tick <= high * 1.001:
        out.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDE - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:,.0f} ms</text>')
        tick *= 10
    for v in xs:
        out.append(f'<path d="M{x(v):.1f} {TOP}V{HIGH - BOTTOM}" stroke="#ddd"/>'
                   f'<text x="{x(v):.1f}" y="{HIGH - BOTTOM + 18}" text-anchor="middle">{v:,}</text>')
    out.append(f'<text x="{(LEFT + WIDE - RIGHT) / 2:.0f}" y="{HIGH - 8}" text-anchor="middle">clusters of four services '
               'and five members</text>')
    labels: list[float] = []
    for key, label, colour in SERIES:
        points = ' '.join(f'{x(s["clusters"]):.1f},{y(s[key]):.1f}' for s in sizes)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x(s["clusters"]):.1f}" cy="{y(s[key]):.1f}" r="3" fill="{colour}"/>' for s in sizes]
        at = y(sizes[-1][key])
        while any(abs(at - other) < 14 for other in labels):
            at += 14
        labels.append(at)
        out.append(f'<text x="{WIDE - RIGHT + 8}" y="{at + 4:.1f}" fill="{colour}">{label}</text>')
    return '\n'.join(out) + '\n</svg>\n'
