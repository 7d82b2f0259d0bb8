import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';

/** What the Go side has made ready. */
interface Scene {
  url: string;
  /** The binary, and its data folder. */
  waybill: string;
  data: string;
  /** Where screenshots go. */
  pictures: string;
  /** Of the users, by name. */
  passwords: Record<string, string>;
  /** Of promotions, by what they show. */
  ids: Record<string, string>;
}

const file = process.env.WAYBILL_SCENE;
if (!file) throw new Error('WAYBILL_SCENE is not set; run it by: hack/test.sh console');

export const scene = JSON.parse(readFileSync(file, 'utf8')) as Scene;

/** Runs the binary as the owner of the data folder, and gives what it prints. */
export async function waybill(args: string[], input = ''): Promise<string> {
  const run = promisify(execFile)(scene.waybill, [...args, '--data', scene.data]);
  run.child.stdin?.end(input);
  return (await run).stdout;
}
