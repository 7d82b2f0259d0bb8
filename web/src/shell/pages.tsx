import { type ComponentType, lazy } from 'react';
import { type Icon, IconPipeline, IconPromotion, IconRelease } from '../ui/icons';

/** A page of the console. Those with a label stand in the navigation, in this order; each is loaded when it is opened. */
export interface Entry {
  path: string;
  label?: string;
  icon?: Icon;
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
];
