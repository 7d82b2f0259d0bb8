import type { Schemas } from '../../api/client';
import { length } from '../../ui/time';

type Figure = Schemas['ReportFigure'];
type Definition = Schemas['ReportDefinition'];

/** A value as people read it, as `waybill report` says it; a dash where there is none. */
export function shown(value: number | null | undefined, unit: Definition['unit']): string {
  if (value === null || value === undefined) return '–';
  switch (unit) {
    case 'share':
      return `${Math.round(value * 100)}\u00a0%`;
    case 'seconds':
      return length(value);
    case 'count':
      return Math.round(value).toLocaleString('en');
    case 'per week':
      return value.toFixed(value < 10 ? 1 : 0);
  }
  return value.toFixed(2);
}

export const find = (list: Figure[] | null | undefined, key: string): Figure | undefined =>
  list?.find((f) => f.key === key);

/** What a figure rests on, in a line. */
export function basis(f: Figure, unit: Definition['unit']): string {
  const parts: string[] = [];
  if (f.counts) parts.push(f.counts);
  else if (f.value !== null && unit !== 'count') parts.push(`of ${f.n.toLocaleString('en')}`);
  if (f.low !== undefined && f.high !== undefined && f.value !== null)
    parts.push(`with 95\u00a0% between ${shown(f.low, unit)} and ${shown(f.high, unit)}`);
  if (f.p90 !== undefined) parts.push(`nine of ten within ${shown(f.p90, unit)}`);
  if (f.note) parts.push(f.note);
  return parts.join(' · ');
}

export interface Change {
  text: string;
  way: 'better' | 'worse' | 'same' | 'neither';
}

/** How a figure differs from that of the period before; nothing where either has too little to say. */
export function change(
  now: Figure,
  then: Figure | undefined,
  d: Pick<Definition, 'unit' | 'better'>,
): Change | undefined {
  if (!then || then.few || now.few) return undefined;
  if (now.value === null || now.value === undefined || then.value === null || then.value === undefined)
    return undefined;
  const was = `was ${shown(then.value, d.unit)}`;
  if (shown(now.value, d.unit) === shown(then.value, d.unit)) return { text: `as before`, way: 'same' };
  const up = now.value > then.value;
  const way = d.better === 'neither' ? 'neither' : (d.better === 'higher') === up ? 'better' : 'worse';
  return { text: `${up ? '↑' : '↓'} ${was}`, way };
}

/** What the figures say, for whoever reads no table. */
export function sentences(total: Figure[]): string[] {
  const said: string[] = [];
  const success = find(total, 'release_success_rate');
  const failure = find(total, 'change_failure_rate');
  const value = (key: string) => {
    const f = find(total, key);
    return f?.value === null || f?.value === undefined ? undefined : f.value;
  };
  if (!success || success.n === 0) {
    said.push('No release was promoted in this time.');
  } else {
    said.push(
      `${success.counts} releases that were let in ended with every tenant on them (${shown(success.value, 'share')}).`,
    );
    if (failure && failure.n > 0) {
      said.push(
        failure.value === 0
          ? `None of the ${failure.n.toLocaleString('en')} that people had had to go back.`
          : `Of those that people had, ${failure.counts} had to go back (${shown(failure.value, 'share')}).`,
      );
    }
    const detect = value('time_to_detect');
    const recover = value('time_to_recover');
    if (detect !== undefined && recover !== undefined)
      said.push(
        `What was bad was noticed after ${shown(detect, 'seconds')}, and people had the release before again ${shown(recover, 'seconds')} later.`,
      );
    const lead = value('lead_time');
    if (lead !== undefined) said.push(`From commit to everybody, a release took ${shown(lead, 'seconds')}.`);
    const wait = value('approval_wait');
    if (wait !== undefined && wait > 0) said.push(`An approval was waited for ${shown(wait, 'seconds')}.`);
  }
  const refused = value('refused');
  if (refused)
    said.push(`${refused} ${refused === 1 ? 'was' : 'were'} refused at the door, before anything was touched.`);
  const drifted = value('drifted_objects');
  const lasted = value('drift_lasted');
  if (drifted) {
    const what = drifted === 1 ? 'One object of a cluster was' : `${drifted} objects of a cluster were`;
    const again = `, and as Waybill had applied ${drifted === 1 ? 'it' : 'them'} again after`;
    said.push(`${what} changed by somebody else${lasted === undefined ? '' : `${again} ${shown(lasted, 'seconds')}`}.`);
  }
  return said;
}
