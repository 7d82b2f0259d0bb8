import { type KeyboardEvent, useRef } from 'react';
import { useLocation } from 'wouter';
import type { Schemas } from '../../api/client';
import { clockChange, clockTime, type Day, dayName, dayOf, wall } from '../../ui/days';
import classes from './Week.module.css';
import { type Block, columns, concerns, grounds, type Item } from './week';

const words: Record<Item['kind'], string> = { window: 'Window', freeze: 'Freeze', planned: 'Waiting' };

/** A week as a grid of days and hours, by the clock of a zone. On a narrow screen the days stand one under another. */
export function Week({
  items,
  stretches,
  monday,
  zone,
  now,
  open,
  step,
  fading,
}: {
  items: Item[];
  /** How the calendar of the one who is chosen is, as the ground of the days. */
  stretches?: Schemas['CalendarStretch'][];
  monday: Day;
  zone: string;
  now: Date;
  open: (item: Item) => void;
  step: (weeks: number) => void;
  /** What is shown is of another week still. */
  fading: boolean;
}) {
  const grid = useRef<HTMLDivElement>(null);
  const [, go] = useLocation();
  const press = (item: Item) => (item.planned ? go(`/promotions/${item.planned.promotion}`) : open(item));
  const days = columns(items, monday, zone);
  const today = dayOf(now, zone);
  const anyWhole = days.some((d) => d.whole.length > 0);

  const keys = (e: KeyboardEvent) => {
    const by = { PageUp: -1, PageDown: 1 }[e.key];
    if (by) {
      e.preventDefault();
      grid.current?.focus({ preventScroll: true }); // the entry that had it is gone in another week
      step(by);
      return;
    }
    const here = document.activeElement;
    const all = [...(grid.current?.querySelectorAll<HTMLElement>('[data-day]') ?? [])].map((d) => [
      ...d.querySelectorAll<HTMLElement>('button'),
    ]);
    const day = all.findIndex((d) => d.includes(here as HTMLElement));
    if (day < 0) return;
    const place = all[day]?.indexOf(here as HTMLElement) ?? 0;
    let next: HTMLElement | undefined;
    if (e.key === 'ArrowDown') next = all[day]?.[place + 1];
    else if (e.key === 'ArrowUp') next = all[day]?.[place - 1];
    else if (e.key === 'ArrowRight') next = all.slice(day + 1).find((d) => d.length > 0)?.[0];
    else if (e.key === 'ArrowLeft') next = all.slice(0, day).findLast((d) => d.length > 0)?.[0];
    else return;
    e.preventDefault();
    next?.focus();
  };

  return (
    <>
      <ul className={classes.key} aria-label="What the signs mean">
        <li data-kind="window">window</li>
        <li data-kind="freeze">freeze</li>
        <li data-kind="planned">promotion that waits</li>
        {stretches && <li data-kind="open">open, all in all</li>}
      </ul>
      {days.map(({ day }) => {
        const change = clockChange(day, zone);
        return (
          change && (
            <p key={day} className={classes.change}>
              {dayName(day, { weekday: 'long' })} has {change.hours} hours: at {clockTime(change.from)} the clocks go{' '}
              {change.to > change.from ? 'forward' : 'back'} to {clockTime(change.to)}.
            </p>
          )
        );
      })}
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the keys move between the buttons in it */}
      <div
        ref={grid}
        tabIndex={-1}
        className={classes.week}
        data-fading={fading || undefined}
        data-grounded={stretches ? true : undefined}
        onKeyDown={keys}
      >
        <div className={classes.hours} aria-hidden="true">
          <span className={classes.corner} data-whole={anyWhole || undefined} />
          <div className={classes.scale}>
            {[3, 6, 9, 12, 15, 18, 21].map((h) => (
              <span key={h} style={{ top: `${(h / 24) * 100}%` }}>
                {clockTime(h * 60)}
              </span>
            ))}
          </div>
        </div>
        {days.map(({ day, whole, blocks }) => {
          const change = clockChange(day, zone);
          const gap = change && change.to > change.from ? change : undefined;
          const empty = whole.length + blocks.length === 0;
          return (
            <section
              key={day}
              className={classes.day}
              data-day={day}
              data-today={day === today || undefined}
              data-empty={empty || undefined}
              aria-label={`${dayName(day, { weekday: 'long', day: 'numeric', month: 'long' })}${day === today ? ', today' : ''}${empty ? ', nothing' : ''}`}
            >
              <h3 className={classes.name}>
                <span>{dayName(day, { weekday: 'short' })}</span> {dayName(day, { day: 'numeric', month: 'short' })}
              </h3>
              <div className={classes.whole} data-any={anyWhole || undefined}>
                {whole.map((item) => (
                  <button
                    key={item.key}
                    type="button"
                    className={classes.block}
                    data-kind={item.kind}
                    aria-label={`${words[item.kind]} ${item.title}, all day, ${about(item)}`}
                    onClick={() => press(item)}
                  >
                    <span className={classes.title}>{item.title}</span>
                    <span className={classes.time}>all day</span>
                    <span className={classes.about}>{about(item)}</span>
                  </button>
                ))}
              </div>
              <div className={classes.field}>
                {stretches &&
                  grounds(stretches, day, zone).map((g) => (
                    <span
                      key={`${g.state} ${g.from}`}
                      className={classes.ground}
                      data-state={g.state}
                      style={place(g.from, g.to)}
                      aria-hidden="true"
                    />
                  ))}
                {gap && (
                  <span
                    className={classes.gap}
                    style={place(gap.from, gap.to)}
                    title="These times are not there"
                    aria-hidden="true"
                  />
                )}
                {blocks.map((b) => (
                  <button
                    key={b.item.key}
                    type="button"
                    className={classes.block}
                    data-kind={b.item.kind}
                    style={{ ...place(b.from, b.to), left: `${(b.lane / b.lanes) * 100}%`, width: `${100 / b.lanes}%` }}
                    aria-label={`${words[b.item.kind]} ${b.item.title}, ${times(b, zone)}, ${about(b.item)}`}
                    title={`${b.item.title}, ${times(b, zone)}, ${about(b.item)}`}
                    onClick={() => press(b.item)}
                  >
                    <span className={classes.title}>{b.item.title}</span>
                    <span className={classes.time}>{times(b, zone)}</span>
                    <span className={classes.about}>{about(b.item)}</span>
                  </button>
                ))}
                {day === today && (
                  <span
                    className={classes.now}
                    style={{ top: `${(wall(now, zone).minutes / 1440) * 100}%` }}
                    aria-hidden="true"
                  />
                )}
              </div>
            </section>
          );
        })}
      </div>
      <p className={classes.hint}>
        By keyboard: Tab goes to an entry, the arrows from one to another, Page Up and Page Down from week to week.
      </p>
    </>
  );
}

const place = (from: number, to: number) => ({
  top: `${(from / 1440) * 100}%`,
  height: `${((to - from) / 1440) * 100}%`,
});

/** "20:00–22:00", of what lies within the day. */
function times(b: Block, zone: string): string {
  const from = clockTime(wall(b.item.start, zone).minutes);
  if (b.item.kind === 'planned') return from;
  const to = b.item.end && !b.after ? clockTime(wall(b.item.end, zone).minutes) : '';
  if (b.before) return to ? `to ${to === '00:00' ? '24:00' : to}` : '';
  if (!to) return `from ${from}`;
  return `${from}–${to === '00:00' ? '24:00' : to}`;
}

function about(item: Item): string {
  if (item.planned) return (item.planned.tenants ?? []).join(', ');
  return item.occurrence ? concerns(item.occurrence.scope) : '';
}
