// The same order as `waybill ledger list` has: what people look for first.
const order = [
  'step',
  'outcome',
  'reason',
  'detail',
  'release_name',
  'operation',
  'version',
  'kind',
  'secret',
  'secrets',
  'for',
  'to',
];

/** What an entry holds, in a line. */
export function says(payload: unknown): string {
  if (typeof payload !== 'object' || payload === null) return String(payload ?? '');
  const holds = payload as Record<string, unknown>;
  return order
    .map((key) => {
      const value = holds[key];
      return Array.isArray(value) ? value.map(String).join(', ') : typeof value === 'string' ? value : '';
    })
    .filter(Boolean)
    .join(': ');
}

/** The beginnings of kinds that people look for; docs/ledger.md has all. */
export const kinds: { value: string; label: string }[] = [
  { value: '', label: 'anything' },
  { value: 'promotion.', label: 'promotions asked for and ended' },
  { value: 'rollout.', label: 'steps and outcomes of tenants' },
  { value: 'approval.', label: 'approvals and rejections' },
  { value: 'rollback.', label: 'rollbacks asked for' },
  { value: 'admission.', label: 'releases refused' },
  { value: 'quarantine.', label: 'quarantine' },
  { value: 'release.', label: 'releases made known' },
  { value: 'rehearsal.', label: 'rehearsals' },
  { value: 'emergency.', label: 'emergencies' },
  { value: 'review.', label: 'reviews of emergencies' },
  { value: 'estate.', label: 'commits of the estate' },
  { value: 'access.', label: 'what people were refused' },
  { value: 'log', label: 'logins and logouts' },
  { value: 'token.', label: 'tokens' },
  { value: 'secret.', label: 'secrets' },
  { value: 'isolation.', label: 'isolation of tenants' },
  { value: 'drift.', label: 'drift in a cluster' },
  { value: 'checkpoints.', label: 'checkpoints removed' },
  { value: 'server.', label: 'starts of the server' },
];
