import { invalidField } from '@flotilla/errors';
import { allCapabilities } from '@flotilla/libcontainer/defaults';
import type { Process, Spec } from '@flotilla/oci';
import type { ResolvedUser } from '../users.ts';
import { checkUserForm } from '../users.ts';
import { cleanPath } from '../validation/mounts.ts';
import { checkEach, checkText } from '../validation/text.ts';
import { checkEnv } from '../validation/validate-config.ts';
import { processCapabilities } from './build-spec.ts';
import { overlayEnv } from './merge-config.ts';

/** flotilla.v1.ExecConfig. */
export interface ExecConfig {
  command: string[];
  env: string[];
  user: string;
  workingDir: string;
  tty: boolean;
  stdin: boolean;
  privileged: boolean;
  size: { rows: number; columns: number } | undefined;
  detachKeys: string;
}

/** INVALID_FIELD for what cannot be run. */
export function validateExec(config: ExecConfig): void {
  if (config.command.length === 0 || config.command[0] === '') throw invalidField('command', 'given');
  checkEach(config.command, 'command', (argument, field) => checkText(argument, field));
  checkEach(config.env, 'env', checkEnv);
  checkUserForm(config.user, 'user');
  checkText(config.workingDir, 'working_dir', 4095);
  if (config.workingDir !== '' && !config.workingDir.startsWith('/')) {
    throw invalidField('working_dir', 'an absolute path', config.workingDir);
  }
}

/** The runtime's process object of an exec: what the request says, over what the container's first process has. */
export function buildExecProcess(config: ExecConfig, spec: Spec, user: ResolvedUser | undefined): Process {
  const base = spec.process!;
  const { uid, gid, additionalGids } = user ?? { ...base.user, additionalGids: base.user.additionalGids ?? [] };
  const bounding = config.privileged ? [...allCapabilities] : (base.capabilities?.bounding ?? []);
  const terminal = config.tty ? ['TERM=xterm'] : [];
  const home = user === undefined ? [] : [`HOME=${user.home}`];
  return {
    terminal: config.tty,
    ...(config.tty && config.size !== undefined && config.size.rows > 0 && config.size.columns > 0
      ? { consoleSize: { height: config.size.rows, width: config.size.columns } }
      : {}),
    user: { uid, gid, additionalGids },
    args: config.command,
    env: overlayEnv(overlayEnv(base.env ?? [], [...terminal, ...home]), config.env),
    cwd: config.workingDir === '' ? base.cwd : cleanPath(config.workingDir),
    capabilities: processCapabilities(bounding, uid),
    noNewPrivileges: base.noNewPrivileges ?? false,
    ...(base.rlimits === undefined ? {} : { rlimits: base.rlimits }),
    ...(base.oomScoreAdj === undefined ? {} : { oomScoreAdj: base.oomScoreAdj }),
  };
}
