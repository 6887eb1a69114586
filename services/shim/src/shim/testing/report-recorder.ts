import { createLogger } from '@flotilla/log';
import {
  type ReportExecExitRequest,
  ReportExecExitResponse,
  type ReportTaskExitRequest,
  ReportTaskExitResponse,
  SupervisorServiceService,
} from '@flotilla/proto/flotilla/supervisor/v1/supervisor';
import { implement, type RpcServer, serve } from '@flotilla/rpc';

/** Takes the reports of shims, as the supervisor does. */
export class ReportRecorder implements AsyncDisposable {
  readonly reports: (ReportTaskExitRequest | ReportExecExitRequest)[] = [];
  #server: RpcServer | undefined;
  #arrived: () => void = () => {};

  async listen(socketPath: string): Promise<void> {
    const record = (report: ReportTaskExitRequest | ReportExecExitRequest) => {
      this.reports.push(report);
      this.#arrived();
    };
    const implementation = implement(SupervisorServiceService, {
      reportTaskExit: async (request) => {
        record(request);
        return ReportTaskExitResponse.create();
      },
      reportExecExit: async (request) => {
        record(request);
        return ReportExecExitResponse.create();
      },
    });
    const log = createLogger({ service: 'supervisor', level: 'silent' });
    this.#server = await serve({ socketPath, implementations: [implementation], service: 'supervisor', log });
  }

  /** Resolves once so many have come. */
  async received(count: number): Promise<void> {
    while (this.reports.length < count) {
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
  }
}
