import process from 'node:process';
import { setCloseOnExec, setNonBlocking } from '@flotilla/linux';

/** The descriptor on which systemd's protocol hands over the first socket: sd_listen_fds(3). */
const firstPassedDescriptor = 3;

/** Takes the listening socket that this process was started with, and keeps it from what it starts in turn. */
export function takePassedSocket(env: NodeJS.ProcessEnv): number {
  if (env.LISTEN_FDS !== '1' || env.LISTEN_PID !== String(process.pid)) {
    throw new Error('the launcher must be started with its listening socket as descriptor 3 (LISTEN_FDS, LISTEN_PID)');
  }
  for (const name of ['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES']) delete env[name];
  setCloseOnExec(firstPassedDescriptor, true);
  setNonBlocking(firstPassedDescriptor, true);
  return firstPassedDescriptor;
}
