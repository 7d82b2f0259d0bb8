import type { Schemas } from '../../api/client';
import { addDays, type Day, startOf, wall } from '../../ui/days';

/** Something that stands in the week: a window, a freeze, or a promotion that waits for a time. */
export interface Item {
  key: string;
  kind: 'window' | 'freeze' | 'planned';
  title: string;
  start: Date;
  /** Not given: until further notice. Of a promotion: the moment that it waits for. */
  end?: Date;
  occurrence?: Schemas['CalendarOccurrence'];
  planned?: Schemas['Planned'];
}

/** A part of an item within one day, by the clock on the wall. */
export interface Block {
  item: Item;
  /** Minutes since midnight. */
  from: number;
  to: number;
  /** The item goes on beyond the day. */
  before: boolean;
  after: boolean;
  lane: number;
  lanes: number;
}

/** A day with what is in it: over all of it, and at a time. */
export interface Column {
  day: Day;
  whole: Item[];
  blocks: Block[];
}

/** What an answer of the API has in it. */
export function itemsOf(c: Schemas['CalendarPeriod']): Item[] {
  const occurrences = (c.occurrences ?? []).map((o, i): Item => {
    const start = new Date(o.start);
    return {
      key: `${o.kind} ${o.calendar} ${o.name} ${o.start} ${i}`,
      kind: o.kind === 'freeze' ? 'freeze' : 'window',
      title: o.event || o.process || o.name,
      start,
      end: o.end ? new Date(o.end) : undefined,
      occurrence: o,
    };
  });
  const planned = (c.planned ?? []).flatMap((p): Item[] =>
    p.at
      ? [
          {
            key: `planned ${p.promotion} ${p.waits_for} ${p.at}`,
            kind: 'planned',
            title: p.kind === 'promote' ? `${p.release_name} → ${p.environment}` : `${p.kind} in ${p.environment}`,
            start: new Date(p.at),
            planned: p,
          },
        ]
      : [],
  );
  return [...occurrences, ...planned].sort((a, b) => a.start.getTime() - b.start.getTime());
}

const least = 60; // minutes that a block is drawn as at least, so that it can be read

/** The seven days from a Monday, each with its part of the items. */
export function columns(items: Item[], monday: Day, zone: string): Column[] {
  return Array.from({ length: 7 }, (_, i) => {
    const day = addDays(monday, i);
    const start = startOf(day, zone).getTime();
    const end = startOf(addDays(day, 1), zone).getTime();
    const whole: Item[] = [];
    const blocks: Block[] = [];
    for (const item of items) {
      const from = item.start.getTime();
      const to = item.kind === 'planned' ? from + 1 : (item.end?.getTime() ?? Number.POSITIVE_INFINITY);
      if (to <= start || from >= end) continue;
      if (from <= start && to >= end) whole.push(item);
      else
        blocks.push({
          item,
          ...span(Math.max(from, start), Math.min(to, end), end, zone),
          before: from < start,
          after: to > end,
          lane: 0,
          lanes: 1,
        });
    }
    inLanes(blocks);
    return { day, whole, blocks };
  });
}

/** Where a stretch stands on a wall of 24 hours. In the hour that comes twice both are at the same place; a stretch
 * over it is drawn as the clock shows it. */
export function span(from: number, to: number, end: number, zone: string): { from: number; to: number } {
  const first = wall(new Date(from), zone).minutes;
  const last = to >= end ? 1440 : wall(new Date(to), zone).minutes;
  const high = last > first ? last : first + (to - from) / 60_000;
  return { from: Math.min(first, 1440 - least), to: Math.min(Math.max(high, first + least), 1440) };
}

/** Puts blocks that overlap side by side. */
export function inLanes(blocks: Pick<Block, 'from' | 'to' | 'lane' | 'lanes'>[]): void {
  blocks.sort((a, b) => a.from - b.from || b.to - a.to);
  let group: typeof blocks = [];
  let ends: number[] = []; // of each lane of the group
  const close = () => {
    for (const b of group) b.lanes = ends.length;
    group = [];
    ends = [];
  };
  for (const b of blocks) {
    if (group.length > 0 && ends.every((e) => e <= b.from)) close();
    let lane = ends.findIndex((e) => e <= b.from);
    if (lane < 0) lane = ends.length;
    ends[lane] = b.to;
    b.lane = lane;
    group.push(b);
  }
  close();
}

/** How a subject's calendar is through a day: open, closed, frozen. */
export function grounds(
  stretches: Schemas['CalendarStretch'][],
  day: Day,
  zone: string,
): { state: string; from: number; to: number }[] {
  const start = startOf(day, zone).getTime();
  const end = startOf(addDays(day, 1), zone).getTime();
  return stretches.flatMap((s) => {
    const from = Math.max(Date.parse(s.start), start);
    const to = Math.min(Date.parse(s.end), end);
    if (to <= from) return [];
    const first = wall(new Date(from), zone).minutes;
    const last = to >= end ? 1440 : wall(new Date(to), zone).minutes;
    return [{ state: s.state, from: first, to: Math.max(last, first) }];
  });
}

/** Whom a window or freeze is about, in words. */
export function concerns(s: Schemas['CalendarScope']): string {
  const labels = Object.entries(s.labels ?? {}).map(([name, value]) => `${name}=${value}`);
  const parts = [
    s.environments?.length && s.environments.join(', '),
    s.rings?.length && `ring ${s.rings.join(', ')}`,
    s.tenants?.length && `tenant ${s.tenants.join(', ')}`,
    labels.length && `with ${labels.join(', ')}`,
  ].filter(Boolean);
  return parts.length ? parts.join('; ') : 'everybody';
}
