import { type ComponentType, lazy } from 'react';
import {
  type Icon,
  IconAudit,
  IconCalendar,
  IconPipeline,
  IconPromotion,
  IconRelease,
  IconReports,
  IconTenants,
} from '../ui/icons';

/** A page of the console. Those with a label stand in the navigation, in this order; each is loaded when it is opened. */
export interface Entry {
  path: string;
  label?: string;
  icon?: Icon;
  asks?: string; // an operation: it stands there only for those who may do that
  page: ComponentType<{ params: Record<string, string | undefined> }>;
}

export const pages: Entry[] = [
  { path: '/', label: 'Pipeline', icon: IconPipeline, page: lazy(() => import('../pages/pipeline/Pipeline')) },
  {
    path: '/promotions',
    label: 'Promotions',
    icon: IconPromotion,
    page: lazy(() => import('../pages/promotion/Promotions')),
  },
  { path: '/promotions/:id', page: lazy(() => import('../pages/promotion/Promotion')) },
  { path: '/releases', label: 'Releases', icon: IconRelease, page: lazy(() => import('../pages/release/Releases')) },
  { path: '/releases/:id', page: lazy(() => import('../pages/release/Release')) },
  { path: '/tenants', label: 'Tenants', icon: IconTenants, page: lazy(() => import('../pages/tenants/Tenants')) },
  { path: '/tenants/:environment/:tenant', page: lazy(() => import('../pages/tenants/Tenant')) },
  { path: '/calendar', label: 'Calendar', icon: IconCalendar, page: lazy(() => import('../pages/calendar/Calendar')) },
  {
    path: '/audit',
    label: 'Audit',
    icon: IconAudit,
    asks: 'ledger.read',
    page: lazy(() => import('../pages/audit/Audit')),
  },
  { path: '/reports', label: 'Reports', icon: IconReports, page: lazy(() => import('../pages/reports/Reports')) },
  { path: '/reports/summary', page: lazy(() => import('../pages/reports/Summary')) },
];
