import { scaleLinear } from 'd3-scale';
import type { Schemas } from '../../api/client';
import classes from './Traffic.module.css';

const width = 180;

/** The effect of the new release with the interval that holds at every look: right of the line is worse. */
export function Interval({ of: s }: { of: Schemas['SignalVerdict'] }) {
  if (s.effect === undefined || s.lower === undefined || s.upper === undefined) return null;
  const reach = Math.max(Math.abs(s.lower), Math.abs(s.upper), Math.abs(s.effect)) || 1;
  const x = scaleLinear([-reach, reach], [6, width - 6]);
  return (
    <svg
      viewBox={`0 0 ${width} 20`}
      width={width}
      height="20"
      role="img"
      aria-label={`effect ${round(s.effect)}, between ${round(s.lower)} and ${round(s.upper)} ${s.unit}`}
      className={classes.interval}
      data-outcome={s.outcome}
    >
      <line x1={x(0)} x2={x(0)} y1="1" y2="19" className={classes.zero} />
      <line x1={x(s.lower)} x2={x(s.upper)} y1="10" y2="10" className={classes.range} />
      <circle cx={x(s.effect)} cy="10" r="4.5" />
    </svg>
  );
}

function round(v: number): string {
  return String(Number(v.toPrecision(3)));
}
