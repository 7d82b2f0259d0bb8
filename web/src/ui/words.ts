// The words of outcomes, verdicts and steps, as docs/architecture.md has them: one place, so that a page says what the
// command line says.
import type { Schemas } from '../api/client';
import { absolute } from './time';

export type Tone = 'good' | 'busy' | 'wait' | 'back' | 'bad' | 'none';

export interface Said {
  tone: Tone;
  text: string;
}

/** Where a promotion stands. */
export function standing(p: Pick<Schemas['Promotion'], 'outcome' | 'rollouts'>): Said {
  switch (p.outcome) {
    case 'promoted':
      return { tone: 'good', text: 'promoted' };
    case 'rolled_back':
      return { tone: 'back', text: 'rolled back' };
    case 'halted':
      return { tone: 'back', text: 'halted' };
    case 'waiting':
      return { tone: 'bad', text: 'waiting for a person' };
  }
  const open = (p.rollouts ?? []).filter((r) => r.state !== 'done');
  if (open.some((r) => r.state === 'undoing')) return { tone: 'back', text: 'going back' };
  if (open.length > 0 && open.every((r) => r.waits_for)) return { tone: 'wait', text: 'waits' };
  return { tone: 'busy', text: 'under way' };
}

/** Where a tenant's part of a promotion stands. */
export function rolloutStanding(r: Pick<Schemas['Rollout'], 'state' | 'outcome' | 'waits_for'>): Said {
  if (r.state === 'done') {
    return r.outcome === 'promoted' ? { tone: 'good', text: 'promoted' } : { tone: 'back', text: 'rolled back' };
  }
  if (r.state === 'waiting') return { tone: 'bad', text: 'waiting for a person' };
  if (r.state === 'undoing') return { tone: 'back', text: 'going back' };
  return r.waits_for ? { tone: 'wait', text: 'waits' } : { tone: 'busy', text: 'under way' };
}

const stepTones: Record<Schemas['Step']['outcome'], Said> = {
  running: { tone: 'busy', text: 'under way' },
  done: { tone: 'good', text: 'done' },
  skipped: { tone: 'none', text: 'did not apply' },
  failed: { tone: 'bad', text: 'failed' },
  retried: { tone: 'wait', text: 'tried again' },
  interrupted: { tone: 'wait', text: 'interrupted' },
  waits: { tone: 'wait', text: 'waits' },
};

export function stepStanding(s: Pick<Schemas['Step'], 'outcome' | 'undo'>): Said {
  const said = stepTones[s.outcome];
  return s.undo && s.outcome === 'done' ? { tone: 'back', text: 'undone' } : said;
}

export function verdictStanding(outcome: string): Said {
  switch (outcome) {
    case 'PASS':
      return { tone: 'good', text: 'PASS' };
    case 'FAIL':
      return { tone: 'bad', text: 'FAIL' };
  }
  return { tone: 'wait', text: outcome };
}

export function gateStanding(verdict: string): Said {
  switch (verdict) {
    case 'allow':
      return { tone: 'good', text: 'holds' };
    case 'wait':
      return { tone: 'wait', text: 'waits' };
    case 'deny':
      return { tone: 'bad', text: 'refuses' };
    case 'warn':
      return { tone: 'wait', text: 'warns' };
    case 'excepted':
      return { tone: 'none', text: 'let pass' };
  }
  return { tone: 'none', text: 'not asked' };
}

/** How a tenant is. */
export function healthStanding(health: Schemas['TenantStanding']['health']): Said {
  switch (health) {
    case 'ill':
      return { tone: 'bad', text: 'needs somebody' };
    case 'watch':
      return { tone: 'wait', text: 'to be watched' };
  }
  return { tone: 'good', text: 'well' };
}

/** What a tenant's people find; nothing to say where it is open. */
export const modes: Record<string, string> = {
  hold: 'requests are held',
  freeze: 'frozen',
  suspended: 'suspended',
  leaving: 'leaving',
  none: 'not served',
};

/** Where a tenant's part of a promotion stands. */
export function partStanding(p: Schemas['TenantPromotion']): Said {
  return rolloutStanding({ state: p.state, outcome: p.outcome, waits_for: p.waits_for });
}

/** What each class means for those who work. */
export const classes: Record<string, string> = {
  swap: 'Nothing in the database changes. Traffic moves step by step; the way back is the route.',
  compatible:
    'The database changes, and the release before still works on it. Traffic moves step by step; the way back is the route.',
  breaking:
    'The database changes, and the release before does not work on it. All traffic moves at once; the way back is a restore.',
};

/** What each kind of procedure does, in two or three words. */
export const kinds: Record<string, string> = {
  promote: 'promotion',
  configuration: 'change of settings',
  rollback: 'way back by the route',
  restore: 'way back by restore',
  create: 'new tenant',
  checkpoint: 'checkpoint',
  suspend: 'suspend',
  resume: 'open again',
  delete: 'delete',
  undelete: 'undelete',
  purge: 'purge',
  rotate: 'change of logins',
  move: 'move',
  rename: 'rename',
  restore_beside: 'restore beside',
  drop_beside: 'drop what stands beside',
};

/** What is done at each step, for people who do not know the procedure by heart. */
export const steps: Record<string, string> = {
  admit: 'May the release enter at all, and what has to be done?',
  rehearse: 'The update runs on a copy of the real data; the way back is proved.',
  gates: 'Policies, approvals and windows are asked.',
  'start pool': 'The new release starts beside the old one; nobody uses it yet.',
  checkpoint: 'Database and files are kept at one recovery point.',
  hold: 'Requests wait at the router; none fails.',
  'checkpoint in fence': 'The checkpoint is taken while nobody writes.',
  update: 'The database is updated in one transaction, and checked before it commits.',
  'let go': 'Requests go on; the old release works on the updated database.',
  verify: 'The new release is asked for readiness, and business flows run on it.',
  shift: 'Traffic moves by weight; each step needs a verdict.',
  'release hold': 'The requests that waited go to the new release.',
  bake: 'Everybody is on the new release; it is watched a while longer.',
  record: 'What was decided is written down; the old pool is kept or removed.',
};

/** The first of a digest that people can compare by eye. */
export function short(digest: string): string {
  return digest.replace(/^sha256:/, '').slice(0, 12);
}

/** "r5 → production" */
export function title(p: Pick<Schemas['Promotion'], 'kind' | 'release_name' | 'environment'>): string {
  return p.kind === 'promote'
    ? `${p.release_name} → ${p.environment}`
    : `${kinds[p.kind] ?? p.kind} in ${p.environment}`;
}

/** What a wait is for, with the moment in the reader's zone. */
export function until(at: string | undefined): string {
  return at ? `until ${absolute(new Date(at))}` : '';
}

/** "1 tenant", "3 tenants" */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString('en')} ${n === 1 ? one : many}`;
}
