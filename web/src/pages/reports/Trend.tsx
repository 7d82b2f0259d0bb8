import { NativeSelect } from '@mantine/core';
import type { Schemas } from '../../api/client';
import { Chart } from '../../ui/Chart';
import { dayName, dayOf } from '../../ui/days';
import { Sheet } from '../../ui/Page';
import { find, shown } from './figures';

/** The course of one figure, by week or month. */
export function Trend({
  of: r,
  figure,
  choose,
}: {
  of: Schemas['ReportReport'];
  figure: string;
  choose: (figure: string) => void;
}) {
  const definitions = r.definitions ?? [];
  const d = definitions.find((x) => x.key === figure) ?? definitions[0];
  if (!d || (r.trend?.length ?? 0) < 2) return null;
  return (
    <Sheet
      title={`Trend by ${r.bucket}`}
      id="trend"
      aside={
        <NativeSelect
          aria-label="Figure of the trend"
          value={d.key}
          onChange={(e) => choose(e.currentTarget.value)}
          data={definitions.map((x) => ({ value: x.key, label: x.name }))}
        />
      }
    >
      <Course of={r} definition={d} />
    </Sheet>
  );
}

/** The drawing alone. */
export function Course({
  of: r,
  definition: d,
}: {
  of: Schemas['ReportReport'];
  definition: Schemas['ReportDefinition'];
}) {
  // A week that the period cuts off says little of itself, and would be read as a fall.
  const whole = (r.trend ?? []).filter((p) => p.whole);
  const points = whole.length > 1 ? whole : (r.trend ?? []);
  const at = points.map((p) => Date.parse(p.start));
  const when = (t: number) => {
    const day = dayOf(new Date(t), r.zone);
    return r.bucket === 'month'
      ? dayName(day, { month: 'short', year: '2-digit' })
      : dayName(day, { day: 'numeric', month: 'short' });
  };
  const step = Math.ceil(points.length / 7);
  return (
    <Chart
      title={d.name}
      at={at}
      ticks={at.filter((_, i) => i % step === 0)}
      when={when}
      says={(v) => shown(v, d.unit)}
      most={d.unit === 'share' ? 1 : undefined}
      series={[
        { name: `by ${r.bucket}`, tone: 'whole', values: points.map((p) => find(p.figures, d.key)?.value ?? null) },
      ]}
    />
  );
}
