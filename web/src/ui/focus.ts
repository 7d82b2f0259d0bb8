import { useEffect, useState } from 'react';

/** Of a dialog that is there only while it is open: whoever closes it is where they were before. */
export function useFocusBack() {
  const [from] = useState(() => document.activeElement);
  useEffect(
    () => () => {
      if (from instanceof HTMLElement) from.focus({ preventScroll: true });
    },
    [from],
  );
}
