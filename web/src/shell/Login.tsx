import { Button, PasswordInput, TextInput } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { api, ask } from '../api/client';
import { loginMethods, me } from '../api/queries';
import { Command, Failure, Loaded } from '../ui/Empty';
import classes from './Login.module.css';

/** The ways in that this server has. */
export function Login() {
  const methods = useQuery(loginMethods());
  useEffect(() => {
    document.title = 'Sign in · Waybill';
  }, []);
  return (
    <main className={classes.login}>
      <div className={classes.sheet}>
        <div className={classes.brand}>
          <img src="/icon.svg" alt="" width="40" height="40" />
          <h1>Waybill</h1>
        </div>
        <p className={classes.lead}>Sign in to see what runs where, and what is on its way.</p>
        <Loaded query={methods} what="Asking for the ways in">
          {(ways) => (
            <>
              {ways
                .filter((w) => w.method === 'oidc')
                .map((w) => (
                  <Button key={w.name} component="a" href={w.url} fullWidth size="lg" mb="md">
                    Sign in with {w.name}
                  </Button>
                ))}
              {ways.some((w) => w.method === 'password') && <ByPassword />}
              {ways.some((w) => w.method === 'token') && <ByToken alone={ways.length === 1} />}
            </>
          )}
        </Loaded>
      </div>
    </main>
  );
}

function useLogIn() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (body: { name?: string; password?: string; token?: string }) =>
      ask(api.POST('/api/v1/login', { body })),
    onSuccess: (who) => {
      cache.removeQueries({ predicate: (q) => q.queryKey[0] !== 'me' }); // what was asked for as somebody else
      cache.setQueryData(me().queryKey, who);
    },
  });
}

function ByPassword() {
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const logIn = useLogIn();
  return (
    <form
      className={classes.form}
      onSubmit={(e) => {
        e.preventDefault();
        logIn.mutate({ name, password });
      }}
    >
      <TextInput
        label="Name"
        autoComplete="username"
        autoCapitalize="none"
        required
        value={name}
        onChange={(e) => setName(e.currentTarget.value)}
      />
      <PasswordInput
        label="Password"
        autoComplete="current-password"
        required
        value={password}
        onChange={(e) => setPassword(e.currentTarget.value)}
      />
      {logIn.error && <Failure cause={logIn.error} />}
      <Button type="submit" size="lg" fullWidth loading={logIn.isPending}>
        Sign in
      </Button>
    </form>
  );
}

function ByToken({ alone }: { alone: boolean }) {
  const [token, setToken] = useState('');
  const logIn = useLogIn();
  return (
    <details className={classes.token} open={alone}>
      <summary>Sign in with a token</summary>
      <form
        className={classes.form}
        onSubmit={(e) => {
          e.preventDefault();
          logIn.mutate({ token });
        }}
      >
        <PasswordInput
          label="Token"
          autoComplete="off"
          required
          value={token}
          onChange={(e) => setToken(e.currentTarget.value)}
        />
        {logIn.error && <Failure cause={logIn.error} />}
        <Button type="submit" variant={alone ? 'filled' : 'default'} fullWidth loading={logIn.isPending}>
          Sign in with this token
        </Button>
      </form>
      <div className={classes.hint}>
        A user of the estate has one from an administrator: <Command>waybill token create NAME</Command> Whoever runs
        the server finds the owner’s in the file <code>keys/token</code> of its data folder.
      </div>
    </details>
  );
}
