import { useQuery } from '@tanstack/react-query';
import { Suspense } from 'react';
import { Route, Switch } from 'wouter';
import { Problem } from '../api/client';
import { LiveContext, useEvents } from '../api/live';
import { me } from '../api/queries';
import { Empty, Failure, Loading } from '../ui/Empty';
import { Page } from '../ui/Page';
import { Login } from './Login';
import { pages } from './pages';
import { Shell } from './Shell';

/** The whole: who is not signed in sees the login, at whatever address; afterwards, what was asked for. */
export function Console() {
  const who = useQuery(me());
  const live = useEvents(who.isSuccess);
  if (who.isPending) return <Loading what="Opening Waybill" />;
  if (who.error instanceof Problem && who.error.status === 401) return <Login />;
  if (!who.data)
    return (
      <Page title="Waybill">
        <Failure cause={who.error} retry={() => void who.refetch()} />
      </Page>
    );
  return (
    <LiveContext value={live}>
      <Shell who={who.data}>
        <Suspense fallback={<Loading />}>
          <Switch>
            {pages.map(({ path, page: P }) => (
              <Route key={path} path={path}>
                {(params) => <P params={params} key={JSON.stringify(params)} />}
              </Route>
            ))}
            <Route>
              <Page title="Nothing is here">
                <Empty title="No page has this address">
                  A link may be old, or mistyped. What there is stands in the navigation.
                </Empty>
              </Page>
            </Route>
          </Switch>
        </Suspense>
      </Shell>
    </LiveContext>
  );
}
