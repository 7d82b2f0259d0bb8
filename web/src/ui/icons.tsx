// The icons of the console, by what they mean here.
import * as radix from '@radix-ui/react-icons';

type Drawn = typeof radix.CheckIcon;

export interface IconProps {
  /** Pixels. */
  size?: number;
}

/** An icon beside its word, or on a button that has a name: it says nothing by itself. */
function icon(Drawing: Drawn) {
  return function Icon({ size = 18 }: IconProps) {
    return <Drawing width={size} height={size} aria-hidden="true" focusable="false" />;
  };
}

export type Icon = ReturnType<typeof icon>;

export const IconGood = icon(radix.CheckIcon);
export const IconBusy = icon(radix.PlayIcon);
export const IconWait = icon(radix.TimerIcon);
export const IconBack = icon(radix.ResetIcon);
export const IconBad = icon(radix.Cross2Icon);
export const IconNone = icon(radix.MinusIcon);
export const IconWarning = icon(radix.ExclamationTriangleIcon);

export const IconPipeline = icon(radix.ColumnsIcon);
export const IconPromotion = icon(radix.ArrowTopRightIcon);
export const IconRelease = icon(radix.CubeIcon);
export const IconTenants = icon(radix.HomeIcon);
export const IconCalendar = icon(radix.CalendarIcon);
export const IconAudit = icon(radix.ReaderIcon);
export const IconReports = icon(radix.BarChartIcon);

export const IconBefore = icon(radix.ArrowLeftIcon);
export const IconNext = icon(radix.ArrowRightIcon);
export const IconChevron = icon(radix.ChevronRightIcon);
export const IconCopy = icon(radix.CopyIcon);
export const IconDownload = icon(radix.DownloadIcon);
export const IconPerson = icon(radix.PersonIcon);
export const IconSignOut = icon(radix.ExitIcon);
export const IconLight = icon(radix.SunIcon);
export const IconDark = icon(radix.MoonIcon);
export const IconSearch = icon(radix.MagnifyingGlassIcon);
