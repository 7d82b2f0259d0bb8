import { scaleLinear } from 'd3-scale';
import type { Schemas } from '../../api/client';
import { Table } from '../../ui/Page';
import { length } from '../../ui/time';
import classes from './Locks.module.css';

const width = 640;
const row = 22;
const left = 190;
const most = 14;

/** Which tables the update locked, from when to when, and whom that keeps out. */
export function Locks({ of: t, modules }: { of: Schemas['Timeline']; modules: Schemas['ModuleTime'][] }) {
  const all = t.locks ?? [];
  const locks = [...all]
    .sort((a, b) => b.held_seconds - a.held_seconds)
    .slice(0, most)
    .sort((a, b) => a.from - b.from);
  const took = modules
    .filter((m) => m.seconds > 0.05)
    .sort((a, b) => b.seconds - a.seconds)
    .slice(0, 6);
  const x = scaleLinear([0, Math.max(t.seconds, ...locks.map((l) => l.to), 0.1)], [left, width - 12]);
  const height = locks.length * row + 26;
  return (
    <div className={classes.locks}>
      <h3>What the update locks</h3>
      {locks.length === 0 ? (
        <p className={classes.soft}>No table is locked against those who work.</p>
      ) : (
        <>
          <p className={classes.soft}>
            <span className={classes.key} data-blocks="reads and writes" /> keeps out reads and writes{' '}
            <span className={classes.key} data-blocks="writes" /> keeps out writes
            {all.length > most && ` · the ${most} longest of ${all.length}`}
          </p>
          <svg
            viewBox={`0 0 ${width} ${height}`}
            className={classes.drawing}
            role="img"
            aria-label="Locks over the time of the update; the table beneath has the figures"
          >
            {x.ticks(5).map((tick) => (
              <g key={tick}>
                <line x1={x(tick)} x2={x(tick)} y1="0" y2={height - 20} className={classes.grid} />
                <text x={x(tick)} y={height - 5} textAnchor="middle">
                  {length(tick)}
                </text>
              </g>
            ))}
            {locks.map((l, i) => (
              <g key={`${l.table}${l.mode}${l.from}`}>
                <text x={left - 8} y={i * row + 12} dy="0.35em" textAnchor="end">
                  {l.table.length > 28 ? `${l.table.slice(0, 27)}…` : l.table}
                </text>
                <rect
                  x={x(l.from)}
                  y={i * row + 4}
                  width={Math.max(2, x(l.to) - x(l.from))}
                  height={row - 7}
                  rx="3"
                  className={classes.bar}
                  data-blocks={l.blocks}
                >
                  <title>{`${l.table}: ${l.mode}, ${length(l.held_seconds)}`}</title>
                </rect>
              </g>
            ))}
          </svg>
          <details>
            <summary>Figures</summary>
            <Table label="Locks of the update" head={['Table', 'Keeps out', 'From', 'Held', 'Would wait']}>
              {locks.map((l) => (
                <tr key={`${l.table}${l.mode}${l.from}`}>
                  <td>
                    <code>{l.table}</code>
                  </td>
                  <td>{l.blocks}</td>
                  <td>{length(l.from)}</td>
                  <td>{length(l.held_seconds)}</td>
                  <td>{l.blocked ? `${l.blocked.toFixed(1)} uses` : '–'}</td>
                </tr>
              ))}
            </Table>
          </details>
        </>
      )}
      {took.length > 0 && (
        <p className={classes.soft}>Longest modules: {took.map((m) => `${m.name} ${length(m.seconds)}`).join(', ')}</p>
      )}
    </div>
  );
}
