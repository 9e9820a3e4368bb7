import { useMediaQuery } from "@mantine/hooks";

/* A phone: as styles.css has it. */
export function useSmall(): boolean {
  return useMediaQuery("(max-width: 640px)", false, { getInitialValueInEffect: false }) ?? false;
}
