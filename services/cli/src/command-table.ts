import type { Command } from 'commander';

/** A command that is loaded when it is asked for: a client that starts for one verb has no use for the others. */
export interface CommandEntry {
  readonly name: string;
  readonly description: string;
  readonly load: () => Promise<Command>;
}

export const commandTable: readonly CommandEntry[] = [
  {
    name: 'run',
    description: 'Make a container of an image and run it',
    load: async () => (await import('./commands/run.ts')).runCommand(),
  },
  {
    name: 'create',
    description: 'Make a container without starting it',
    load: async () => (await import('./commands/create.ts')).createCommand(),
  },
  {
    name: 'start',
    description: 'Start containers',
    load: async () => (await import('./commands/start.ts')).startCommand(),
  },
  {
    name: 'stop',
    description: 'Stop containers',
    load: async () => (await import('./commands/lifecycle.ts')).stopCommand(),
  },
  {
    name: 'kill',
    description: 'Send a signal to containers',
    load: async () => (await import('./commands/lifecycle.ts')).killCommand(),
  },
  {
    name: 'restart',
    description: 'Stop containers and start them again',
    load: async () => (await import('./commands/lifecycle.ts')).restartCommand(),
  },
  {
    name: 'pause',
    description: 'Freeze the processes of containers',
    load: async () => (await import('./commands/lifecycle.ts')).pauseCommand(),
  },
  {
    name: 'unpause',
    description: 'Thaw the processes of containers',
    load: async () => (await import('./commands/lifecycle.ts')).unpauseCommand(),
  },
  {
    name: 'update',
    description: 'Change limits and restart policy of containers',
    load: async () => (await import('./commands/update.ts')).updateCommand(),
  },
  {
    name: 'wait',
    description: 'Wait until containers stop, print their exit codes',
    load: async () => (await import('./commands/lifecycle.ts')).waitCommand(),
  },
  {
    name: 'rm',
    description: 'Remove containers',
    load: async () => (await import('./commands/lifecycle.ts')).rmCommand(),
  },
  {
    name: 'rename',
    description: 'Give a container another name',
    load: async () => (await import('./commands/lifecycle.ts')).renameCommand(),
  },
  {
    name: 'ps',
    description: 'List containers',
    load: async () => (await import('./commands/ps.ts')).psCommand(),
  },
  {
    name: 'inspect',
    description: 'Everything about containers, images, volumes or networks, as JSON',
    load: async () => (await import('./commands/inspect.ts')).inspectCommand(),
  },
  {
    name: 'logs',
    description: 'Show what a container has written',
    load: async () => (await import('./commands/logs.ts')).logsCommand(),
  },
  {
    name: 'exec',
    description: 'Run a command in a running container',
    load: async () => (await import('./commands/exec.ts')).execCommand(),
  },
  {
    name: 'attach',
    description: 'Attach to the standard streams of a running container',
    load: async () => (await import('./commands/attach.ts')).attachCommand(),
  },
  {
    name: 'top',
    description: 'Show the processes of a container',
    load: async () => (await import('./commands/top.ts')).topCommand(),
  },
  {
    name: 'stats',
    description: 'Show what containers use, live',
    load: async () => (await import('./commands/stats.ts')).statsCommand(),
  },
  {
    name: 'port',
    description: 'Show published ports of a container',
    load: async () => (await import('./commands/port.ts')).portCommand(),
  },
  {
    name: 'cp',
    description: 'Copy files into a container or out of it',
    load: async () => (await import('./commands/cp.ts')).cpCommand(),
  },
  {
    name: 'diff',
    description: 'Show what a container changed in its files',
    load: async () => (await import('./commands/diff.ts')).diffCommand(),
  },
  {
    name: 'export',
    description: 'Write the files of a container as a tar archive',
    load: async () => (await import('./commands/export.ts')).exportCommand(),
  },
  {
    name: 'commit',
    description: 'Make an image of a container',
    load: async () => (await import('./commands/commit.ts')).commitCommand(),
  },
  {
    name: 'explain',
    description: 'Show how a container is made, from the files of the kernel',
    load: async () => (await import('./commands/explain.ts')).explainCommand(),
  },
  {
    name: 'images',
    description: 'List images',
    load: async () => (await import('./commands/images.ts')).imagesCommand(),
  },
  {
    name: 'pull',
    description: 'Fetch an image from a registry',
    load: async () => (await import('./commands/pull.ts')).pullCommand(),
  },
  {
    name: 'push',
    description: 'Send an image to a registry',
    load: async () => (await import('./commands/push.ts')).pushCommand(),
  },
  {
    name: 'save',
    description: 'Write images to a tar archive',
    load: async () => (await import('./commands/save.ts')).saveCommand(),
  },
  {
    name: 'load',
    description: 'Load images from a tar archive',
    load: async () => (await import('./commands/load.ts')).loadCommand(),
  },
  {
    name: 'import',
    description: 'Make an image of the tar of a root file system',
    load: async () => (await import('./commands/import.ts')).importCommand(),
  },
  {
    name: 'rmi',
    description: 'Remove images',
    load: async () => (await import('./commands/image-verbs.ts')).rmiCommand(),
  },
  {
    name: 'tag',
    description: 'Give an image one more reference',
    load: async () => (await import('./commands/image-verbs.ts')).tagCommand(),
  },
  {
    name: 'history',
    description: 'Show how an image was made',
    load: async () => (await import('./commands/history.ts')).historyCommand(),
  },
  {
    name: 'image',
    description: 'Manage images',
    load: async () => (await import('./commands/command-group.ts')).imageGroup(commandTable),
  },
  {
    name: 'container',
    description: 'Manage containers',
    load: async () => (await import('./commands/command-group.ts')).containerGroup(commandTable),
  },
  {
    name: 'volume',
    description: 'Manage volumes',
    load: async () => (await import('./commands/volume.ts')).volumeCommand(),
  },
  {
    name: 'network',
    description: 'Show networks',
    load: async () => (await import('./commands/network.ts')).networkCommand(),
  },
  {
    name: 'system',
    description: 'Show and free what is used on disk',
    load: async () => (await import('./commands/command-group.ts')).systemGroup(commandTable),
  },
  {
    name: 'events',
    description: 'Show what happens in the engine',
    load: async () => (await import('./commands/events.ts')).eventsCommand(),
  },
  {
    name: 'info',
    description: 'Show facts about the engine and its host',
    load: async () => (await import('./commands/info.ts')).infoCommand(),
  },
  {
    name: 'version',
    description: 'Show the versions of client and engine',
    load: async () => (await import('./commands/version.ts')).versionCommand(),
  },
  {
    name: 'service',
    description: 'Show and restart the processes of the engine',
    load: async () => (await import('./commands/service.ts')).serviceCommand(),
  },
  {
    name: 'doctor',
    description: 'Check the host: what is wrong and how to mend it',
    load: async () => (await import('./commands/doctor.ts')).doctorCommand(),
  },
];
