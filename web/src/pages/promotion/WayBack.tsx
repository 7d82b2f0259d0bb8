import { Button, Checkbox, Modal, Textarea } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useLocation } from 'wouter';
import { api, ask, type Schemas } from '../../api/client';
import { useAskAgain } from '../../api/live';
import { wayBack } from '../../api/queries';
import { useMay } from '../../shell/session';
import { Failure, Loaded } from '../../ui/Empty';
import { useFocusBack } from '../../ui/focus';
import { IconBack } from '../../ui/icons';
import { Facts, Sheet } from '../../ui/Page';
import { Note } from '../../ui/State';
import { length } from '../../ui/time';
import { When } from '../../ui/When';
import classes from './Gates.module.css';

/** How a promotion can be reversed: what that would do and cost, before anybody does it. */
export function WayBack({ of: p }: { of: Schemas['Promotion'] }) {
  const way = useQuery({ ...wayBack(p.id), refetchInterval: useAskAgain() });
  const [asked, ask] = useState(false);
  const may = useMay();
  return (
    <Sheet title="Way back" id="wayback">
      <Loaded query={way} what="Finding out how it can be reversed">
        {(w) => (
          <>
            <p>{w.says}</p>
            {w.how !== 'none' && (
              <>
                <Cost of={w} />
                {may('promotion.rollback', p.environment) && (
                  <div className={classes.buttons}>
                    <Button variant="default" leftSection={<IconBack />} onClick={() => ask(true)}>
                      Take it back …
                    </Button>
                  </div>
                )}
              </>
            )}
            {asked && <Ask of={p} way={w} close={() => ask(false)} />}
          </>
        )}
      </Loaded>
    </Sheet>
  );
}

function Cost({ of: w }: { of: Schemas['TakeBack'] }) {
  return <Note tone={w.loses ? 'bad' : 'good'}>{w.cost}</Note>;
}

function Ask({ of: p, way: w, close }: { of: Schemas['Promotion']; way: Schemas['TakeBack']; close: () => void }) {
  useFocusBack();
  const [reason, setReason] = useState('');
  const [accepted, accept] = useState(false);
  const cache = useQueryClient();
  const [, go] = useLocation();
  const back = useMutation({
    mutationFn: () =>
      ask(
        api.POST('/api/v1/promotions/{id}/rollback', {
          params: { path: { id: p.id } },
          body: { reason, accept_loss: w.loses && accepted },
        }),
      ),
    onSuccess: (asked) => {
      void cache.invalidateQueries({ queryKey: ['promotion', p.id] });
      void cache.invalidateQueries({ queryKey: ['promotions'] });
      close();
      if (asked.promotion && asked.promotion !== p.id) go(`/promotions/${asked.promotion}`);
    },
  });
  return (
    <Modal opened onClose={close} size="lg" title={`Take ${p.release_name} back in ${p.environment}`}>
      <form
        className={classes.form}
        onSubmit={(e) => {
          e.preventDefault();
          back.mutate();
        }}
      >
        <p>{w.says}</p>
        <Cost of={w} />
        <Facts
          of={[
            ['Serves afterwards', w.to],
            ['Tenants', w.tenants?.join(', ')],
            ['Checkpoint', w.checkpoint],
            ['Lost from', w.since && <When at={w.since} />],
            ['A restore took', w.seconds !== undefined && length(w.seconds)],
          ]}
        />
        <Textarea
          label="Reason"
          required
          maxLength={500}
          autosize
          minRows={2}
          value={reason}
          onChange={(e) => setReason(e.currentTarget.value)}
          data-autofocus
        />
        {w.loses && (
          <Checkbox
            size="md"
            checked={accepted}
            onChange={(e) => accept(e.currentTarget.checked)}
            label="I accept that what was written since is lost"
          />
        )}
        {back.error && <Failure cause={back.error} />}
        <div className={classes.buttons}>
          <Button variant="default" onClick={close}>
            Cancel
          </Button>
          <Button
            type="submit"
            color={w.loses ? 'red' : undefined}
            disabled={w.loses && !accepted}
            loading={back.isPending}
          >
            Take it back
          </Button>
        </div>
      </form>
    </Modal>
  );
}
