import { scaleLinear } from 'd3-scale';
import { line } from 'd3-shape';
import classes from './Chart.module.css';

export interface Series {
  name: string;
  /** A value for each slice; null where nothing was seen. */
  values: (number | null)[];
  tone: 'canary' | 'stable' | 'whole';
}

const width = 640;
const height = 190;
const margin = { top: 12, right: 14, bottom: 26, left: 58 };

/** The course of one or more series over time. They differ by dash and mark as well as by colour; the figures stand in a
 * table beneath, for those who do not see the drawing. */
export function Chart({
  title,
  series,
  says,
  at,
  when,
  ticks,
  most,
}: {
  title: string;
  series: Series[];
  /** How a value is said. */
  says: (value: number) => string;
  /** The x values, one for each slice. */
  at: number[];
  /** How an x value is said. */
  when: (x: number) => string;
  /** The x values that are written beneath; a few round ones, unless given. */
  ticks?: number[];
  /** The largest value that there can be. */
  most?: number;
}) {
  const values = series.flatMap((s) => s.values.filter((v) => v !== null));
  if (values.length === 0 || at.length === 0) return <p className={classes.none}>{title}: nothing was seen.</p>;
  const x = scaleLinear([at[0] ?? 0, at.at(-1) ?? 1], [margin.left, width - margin.right]);
  const high =
    scaleLinear([0, Math.max(...values) * 1.08 || 1], [0, 1])
      .nice(4)
      .domain()[1] ?? 1;
  const y = scaleLinear([0, Math.min(high, most ?? high)], [height - margin.bottom, margin.top]);
  const path = line<[number, number | null]>()
    .defined(([, v]) => v !== null)
    .x(([t]) => x(t))
    .y(([, v]) => y(v ?? 0));
  return (
    <figure className={classes.chart}>
      <figcaption>
        <span className={classes.title}>{title}</span>
        {series.map((s) => (
          <span key={s.name} className={classes.key}>
            <svg width="34" height="12" aria-hidden="true">
              <path d="M1 6H33" className={classes.line} data-tone={s.tone} />
              <Mark tone={s.tone} x={17} y={6} />
            </svg>
            {s.name}
          </span>
        ))}
      </figcaption>
      <svg viewBox={`0 0 ${width} ${height}`} role="img" aria-label={title} className={classes.drawing}>
        {y.ticks(4).map((tick) => (
          <g key={tick}>
            <line x1={margin.left} x2={width - margin.right} y1={y(tick)} y2={y(tick)} className={classes.grid} />
            <text x={margin.left - 8} y={y(tick)} dy="0.33em" textAnchor="end">
              {says(tick)}
            </text>
          </g>
        ))}
        {(ticks ?? x.ticks(5)).map((tick) => (
          <text key={tick} x={x(tick)} y={height - 8} textAnchor="middle">
            {when(tick)}
          </text>
        ))}
        {series.map((s) => (
          <g key={s.name}>
            <path
              d={path(at.map((t, i) => [t, s.values[i] ?? null])) ?? ''}
              className={classes.line}
              data-tone={s.tone}
            />
            {at.map((t, i) => {
              const v = s.values[i];
              return v === null || v === undefined ? null : <Mark key={t} tone={s.tone} x={x(t)} y={y(v)} />;
            })}
          </g>
        ))}
      </svg>
      <details className={classes.figures}>
        <summary>Figures</summary>
        <table>
          <thead>
            <tr>
              <th scope="col">time</th>
              {series.map((s) => (
                <th key={s.name} scope="col">
                  {s.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {at.map((t, i) => (
              <tr key={t}>
                <th scope="row">{when(t)}</th>
                {series.map((s) => {
                  const v = s.values[i];
                  return <td key={s.name}>{v === null || v === undefined ? '–' : says(v)}</td>;
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </figure>
  );
}

function Mark({ tone, x, y }: { tone: Series['tone']; x: number; y: number }) {
  return tone === 'canary' ? (
    <path
      d={`M${x} ${y - 4.2}L${x + 4.2} ${y}L${x} ${y + 4.2}L${x - 4.2} ${y}Z`}
      className={classes.mark}
      data-tone={tone}
    />
  ) : (
    <circle cx={x} cy={y} r={2.6} className={classes.mark} data-tone={tone} />
  );
}
