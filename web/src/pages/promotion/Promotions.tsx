import { Button, NativeSelect } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useAskAgain } from '../../api/live';
import { promotions, status } from '../../api/queries';
import { Loaded } from '../../ui/Empty';
import { Page, Sheet } from '../../ui/Page';
import { Lately } from './Lately';

/** All promotions, the newest first. */
export default function Promotions() {
  const [environment, choose] = useState('');
  const [limit, more] = useState(50);
  const list = useQuery({ ...promotions(environment, limit), refetchInterval: useAskAgain() });
  const now = useQuery(status());
  return (
    <Page
      title="Promotions"
      lead="Every release on its way into an environment, and what was done to tenants besides."
      actions={
        <NativeSelect
          aria-label="Environment"
          value={environment}
          onChange={(e) => choose(e.currentTarget.value)}
          data={[{ value: '', label: 'all environments' }, ...(now.data?.environments ?? []).map((e) => e.name)]}
        />
      }
    >
      <Sheet>
        <Loaded query={list} what="Reading promotions">
          {(found) => (
            <>
              <Lately of={found} />
              {found.length === limit && limit < 500 && (
                <Button mt="md" variant="default" onClick={() => more(Math.min(limit * 2, 500))}>
                  Show more
                </Button>
              )}
            </>
          )}
        </Loaded>
      </Sheet>
    </Page>
  );
}
