import { Component, type ReactNode } from "react";
import { Failure } from "./parts";

/* A part that throws does not take the page with it. */
export class Boundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error };
  }

  override render(): ReactNode {
    return this.state.error === null ? this.props.children
      : <Failure error={this.state.error} retry={() => this.setState({ error: null })} />;
  }
}
