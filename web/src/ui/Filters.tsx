import { TextInput, type TextInputProps } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { type ReactNode, useEffect, useState } from 'react';
import classes from './Filters.module.css';

/** What a page can be narrowed by, in a row above it. */
export function Filters({ label, children }: { label: string; children: ReactNode }) {
  return (
    <search className={classes.filters} aria-label={label}>
      {children}
    </search>
  );
}

/** A text to look for; it counts a moment after the last key. */
export function Search({
  value,
  set,
  ...rest
}: { value: string; set: (text: string) => void } & Omit<TextInputProps, 'value' | 'onChange'>) {
  const [text, type] = useState(value);
  const [given, give] = useState(value);
  const later = useDebouncedCallback((next: string) => {
    give(next);
    set(next);
  }, 350);
  useEffect(() => {
    if (value !== given) {
      // the address has changed otherwise: a link, or the way back
      give(value);
      type(value);
    }
  }, [value, given]);
  return (
    <TextInput
      {...rest}
      value={text}
      autoComplete="off"
      spellCheck={false}
      onChange={(e) => {
        type(e.currentTarget.value);
        later(e.currentTarget.value.trim());
      }}
    />
  );
}
